/** What gateway threads count: each its own, added up by the thread of the log, shown as metrics. */

import type { ListenerCounts } from "./transports/transport.ts";

/** Why something was refused or ended, and how often: a reason code of MQTT 5.0 as "0x82", or a word where no code is sent. */
export type Reasons = Record<string, number>;

export interface GatewayFigures {
  /** In the order of the options. */
  readonly listeners: readonly ListenerCounts[];
  /** Messages that were refused with a reason, and QoS 0 messages that the policy dropped. */
  readonly refused: number;
  /** Deliveries to subscribers that were dropped because they did not keep up. */
  readonly dropped: number;
  /** Bytes that are accepted and not durable. */
  readonly waitingBytes: number;
  /** Bytes that connected clients have not taken. */
  readonly outgoingBytes: number;
  /** Nodes that a topic may visit to find its subscribers, at most; of the thread where that is most. */
  readonly matchCost: number;
  readonly subscriptions: number;
  readonly retainedMessages: number;
  readonly retainedBytes: number;
  /** How often, and for how long altogether, the event loop stood still for a second or more. */
  readonly stalls: number;
  readonly stalledMs: number;
  /** Connections and ends that the stream `connections` does not have: too many at once, or their group was not stored. */
  readonly eventsDropped: number;
  readonly reasons: Readonly<Reasons>;
}

export const noFigures: GatewayFigures = {
  listeners: [],
  refused: 0,
  dropped: 0,
  waitingBytes: 0,
  outgoingBytes: 0,
  matchCost: 0,
  subscriptions: 0,
  retainedMessages: 0,
  retainedBytes: 0,
  stalls: 0,
  stalledMs: 0,
  eventsDropped: 0,
  reasons: {},
};

/** Words for ends that no reason code is sent with. */
export type WordlessEnd = "connect-deadline" | "answers-untaken" | "unfinished" | "connections" | "address";

export const countReason = (reasons: Reasons, reason: number | WordlessEnd): void => {
  const name = typeof reason === "string" ? reason : `0x${reason.toString(16).padStart(2, "0")}`;
  reasons[name] = (reasons[name] ?? 0) + 1;
};

const merged = (reasons: readonly Readonly<Reasons>[]): Reasons => {
  const sum: Reasons = {};
  for (const one of reasons) for (const [name, count] of Object.entries(one)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
};

const sumListeners = (threads: readonly (readonly ListenerCounts[])[]): ListenerCounts[] =>
  Array.from({ length: Math.max(0, ...threads.map(({ length }) => length)) }, (_, place) => ({
    connections: threads.reduce((sum, counts) => sum + (counts[place]?.connections ?? 0), 0),
    turnedAway: threads.reduce((sum, counts) => sum + (counts[place]?.turnedAway ?? 0), 0),
    failed: threads.reduce((sum, counts) => sum + (counts[place]?.failed ?? 0), 0),
  }));

export const sumFigures = (figures: readonly GatewayFigures[]): GatewayFigures => {
  const sum = (pick: (one: GatewayFigures) => number): number => figures.reduce((total, one) => total + pick(one), 0);
  return {
    listeners: sumListeners(figures.map(({ listeners }) => listeners)),
    refused: sum((one) => one.refused),
    dropped: sum((one) => one.dropped),
    waitingBytes: sum((one) => one.waitingBytes),
    outgoingBytes: sum((one) => one.outgoingBytes),
    matchCost: Math.max(0, ...figures.map(({ matchCost }) => matchCost)),
    subscriptions: sum((one) => one.subscriptions),
    // Each thread has all of them.
    retainedMessages: Math.max(0, ...figures.map(({ retainedMessages }) => retainedMessages)),
    retainedBytes: Math.max(0, ...figures.map(({ retainedBytes }) => retainedBytes)),
    stalls: sum((one) => one.stalls),
    stalledMs: sum((one) => one.stalledMs),
    eventsDropped: sum((one) => one.eventsDropped),
    reasons: merged(figures.map(({ reasons }) => reasons)),
  };
};
