/**
 * The node's figures as messages under `$SYS`, by mosquitto's names where it has them. They are collected and published only while
 * somebody subscribes to them, and delivered like any message: the policy is asked for each. A filter that begins with a
 * wildcard does not match them (MQTT 5.0 §4.7.2).
 */
import { utf8 } from "@headrace/mqtt";
import { version } from "../version.ts";
import type { FanOut } from "./fan-out.ts";
import { FanOutMessage } from "./fan-out-message.ts";
import { type Load, LoadAverage } from "./load-average.ts";

const prefix = "$SYS/broker/";
/** A new subscriber need not wait for the next round; many that come at once get one. */
const firstRoundMs = 100;

/** What the figures are made of. Totals are of this start. */
export interface SysFigures {
  readonly connections: number;
  /** Lasting sessions that nobody is connected to. */
  readonly absentSessions: number;
  readonly connectionsAccepted: number;
  readonly messagesReceived: number;
  readonly messagesSent: number;
  readonly messagesDropped: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly retained: number;
  readonly subscriptions: number;
}

export interface SysTopicsOptions {
  readonly fanOut: FanOut;
  readonly collect: () => Promise<SysFigures>;
  /** A clock that does not jump. */
  readonly nowMs: () => number;
  readonly intervalMs: number;
}

export class SysTopics {
  readonly #options: SysTopicsOptions;
  readonly #startedMs: number;
  readonly #loads = {
    "load/messages/received": new LoadAverage(),
    "load/messages/sent": new LoadAverage(),
    "load/bytes/received": new LoadAverage(),
    "load/bytes/sent": new LoadAverage(),
    "load/connections": new LoadAverage(),
  };
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: SysTopicsOptions) {
    this.#options = options;
    this.#startedMs = options.nowMs();
    options.fanOut.subscribers.onSysSubscribed = () => this.#schedule(firstRoundMs);
    if (options.fanOut.subscribers.sysCount > 0) this.#schedule(firstRoundMs);
  }

  #schedule(afterMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#round(), afterMs).unref();
  }

  async #round(): Promise<void> {
    const { fanOut, collect, intervalMs } = this.#options;
    if (fanOut.subscribers.sysCount === 0) return;
    const figures = await collect();
    if (this.#isClosed) return;
    for (const [name, value] of this.#values(figures)) this.#publish(`${prefix}${name}`, String(value));
    this.#schedule(intervalMs);
  }

  #publish(topic: string, text: string): void {
    const { fanOut } = this.#options;
    const deliveries = fanOut.subscribers.match(topic).filter(({ receiver }) => receiver.isAbsent !== true);
    if (deliveries.length === 0) return;
    const payload = utf8(text);
    fanOut.deliver(
      new FanOutMessage({ topic, payload, qos: 0, retain: false, properties: {}, publisher: undefined }),
      deliveries,
    );
  }

  *#values(figures: SysFigures): Generator<[name: string, value: string | number]> {
    const uptimeMs = this.#options.nowMs() - this.#startedMs;
    yield ["version", `headrace ${version}`];
    yield ["uptime", `${Math.floor(uptimeMs / 1_000)} seconds`];
    yield ["clients/total", figures.connections + figures.absentSessions];
    yield ["clients/connected", figures.connections];
    yield ["clients/disconnected", figures.absentSessions];
    yield ["messages/received", figures.messagesReceived];
    yield ["messages/sent", figures.messagesSent];
    yield ["publish/messages/received", figures.messagesReceived];
    yield ["publish/messages/sent", figures.messagesSent];
    yield ["publish/messages/dropped", figures.messagesDropped];
    yield ["bytes/received", figures.bytesReceived];
    yield ["bytes/sent", figures.bytesSent];
    yield ["retained messages/count", figures.retained];
    yield ["subscriptions/count", figures.subscriptions];
    yield ["heap/current", process.memoryUsage().heapUsed];
    const totals = {
      "load/messages/received": figures.messagesReceived,
      "load/messages/sent": figures.messagesSent,
      "load/bytes/received": figures.bytesReceived,
      "load/bytes/sent": figures.bytesSent,
      "load/connections": figures.connectionsAccepted,
    } as const;
    for (const [name, load] of Object.entries(this.#loads)) {
      const averages: Load = load.update(totals[name as keyof typeof totals], uptimeMs);
      for (const [window, average] of Object.entries(averages)) yield [`${name}/${window}`, average.toFixed(2)];
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }
}
