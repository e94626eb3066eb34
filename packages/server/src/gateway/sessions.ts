/** The durable sessions of a node: found by client id, written to the log `sessions`, restored from it, ended when their time is over. */
import { EventBlockReader, InternedString } from "@headrace/engine";
import { type OutboxBudget, SessionState, type SubscriptionLimits, type Will } from "@headrace/mqtt";
import type { EmbeddedLog } from "../log/index.ts";
import { blocksOf } from "./blocks.ts";
import { DurableSession, type SessionStore } from "./durable-session.ts";
import type { FanOut } from "./fan-out.ts";
import { FanOutMessage, type Held } from "./fan-out-message.ts";
import type { Ingest } from "./ingest.ts";
import type { GatewayLimits } from "./limits.ts";
import { type BuilderPool, PartitionWriter } from "./partition-writer.ts";
import {
  decodeRecord,
  encodeRecord,
  keepWill,
  publishProperties,
  type SessionRecord,
  willOf,
} from "./session-records.ts";
import { Stored } from "./stored.ts";

const noText = new InternedString("");
const tickMs = 500;
/** Below this the log is not worth compacting. */
const compactBytesMin = 4 * 1024 * 1024;
const copyBytesPerGroup = 256 * 1024;
const readBytes = 1024 * 1024;

export interface SessionsOptions {
  readonly log: EmbeddedLog;
  readonly ingest: Ingest;
  readonly pool: BuilderPool;
  readonly fanOut: FanOut;
  readonly outgoing: OutboxBudget;
  readonly limits: GatewayLimits;
  readonly nowMs: () => number;
}

export class Sessions implements SessionStore {
  readonly counters = { dropped: 0, expired: 0, lost: 0 };
  readonly nowMs: () => number;
  readonly queueAgeMaxMs: number;
  /** Publishes the will of a session whose connection is gone. */
  onWill: ((session: DurableSession, will: Will) => void) | undefined;
  readonly #options: SessionsOptions;
  readonly #byId = new Map<string, DurableSession>();
  readonly #writer: PartitionWriter;
  readonly #trim: (beforeSequence: number) => void;
  #timer: NodeJS.Timeout | undefined;
  #logBytes = 0;
  #copies: DurableSession[] = [];
  #copyStart = -1;
  #copyBytes = 0;

  private constructor(options: SessionsOptions, writer: PartitionWriter, trim: (beforeSequence: number) => void) {
    this.#options = options;
    this.#writer = writer;
    this.#trim = trim;
    this.nowMs = options.nowMs;
    this.queueAgeMaxMs = options.limits.sessionQueueAgeMaxSeconds * 1_000;
  }

  static async open(options: SessionsOptions): Promise<Sessions> {
    const { log, pool, ingest } = options;
    const channel = { logId: (await log.open("sessions", "control")).id, writer: 0 };
    const epoch = await log.fence(channel);
    const writer = new PartitionWriter({ ...channel, epoch, sequence: log.endSequence(channel) }, pool, ingest);
    const sessions = new Sessions(options, writer, (before) => log.trim(channel, before));
    for await (const block of blocksOf(log, channel)) sessions.#restore(block);
    sessions.#settleRestored();
    sessions.#timer = setInterval(() => sessions.#turn(), tickMs).unref();
    return sessions;
  }

  get size(): number {
    return this.#byId.size;
  }
  get(clientId: string): DurableSession | undefined {
    return this.#byId.get(clientId);
  }
  values(): IterableIterator<DurableSession> {
    return this.#byId.values();
  }

  /**
   * The session with which a client connects: the one that it left behind, a new one, or none when it asks for none.
   * A session that it does not want back, or that belongs to another identity, ends.
   */
  find(request: {
    readonly clientId: string;
    readonly identity: string | undefined;
    readonly clean: boolean;
    readonly expirySeconds: number;
  }): { readonly session: DurableSession | undefined; readonly isNew: boolean } | "full" {
    const { clientId, identity, clean, expirySeconds } = request;
    const known = this.#byId.get(clientId);
    if (known !== undefined && !clean && known.identity === identity) return { session: known, isNew: false };
    if (known !== undefined) this.end(known);
    if (expirySeconds === 0) return { session: undefined, isNew: true };
    if (this.#byId.size >= this.#options.limits.sessionsMax) return "full";
    const session = this.#make(clientId, identity);
    return { session, isNew: true };
  }

  #make(clientId: string, identity: string | undefined): DurableSession {
    const { limits, outgoing: budget } = this.#options;
    const state = new SessionState<Held>({
      limits: sessionLimits(limits),
      outbox: {
        receiveMaximum: 65_535,
        maximumPacketSize: Number.POSITIVE_INFINITY,
        queueMessagesMax: limits.sessionQueueMessagesMax,
        queueBytesMax: limits.sessionQueueBytesMax,
        inFlightBytesMax: limits.inFlightToClientBytesMax,
        budget,
      },
    });
    state.outbox.pause();
    const session = new DurableSession(this, clientId, identity, state);
    this.#byId.set(clientId, session);
    return session;
  }

  /** The session is over: nothing of it is kept, and its will is due (MQTT 5.0 §3.1.3.2.2). */
  end(session: DurableSession): void {
    if (session.isEnded) return;
    session.isEnded = true;
    this.#byId.delete(session.clientId);
    for (const { filter } of [...session.state.subscriptions.values()]) {
      this.#options.fanOut.subscribers.remove(session, filter);
    }
    this.write(session, { kind: "end" });
    if (session.connection === undefined && session.will !== undefined) this.#publishWill(session);
    this.#redistribute(session);
    session.state.outbox.pause();
  }

  /** QoS 1 messages that came for a group and that nobody got go to another member; QoS 2 ones must not (§4.8.2). */
  #redistribute(session: DurableSession): void {
    for (const { message: held } of [...session.entries()]) {
      if (held.share !== undefined && held.variant !== undefined && held.variant.qos === 1) {
        held.share.receive(held.variant.message);
      }
    }
  }

  #publishWill(session: DurableSession): void {
    const { will } = session;
    session.will = undefined;
    session.willDueMs = undefined;
    if (will === undefined) return;
    this.onWill?.(session, will);
    // In the same group as the message: it is published once, whatever happens between.
    if (!session.isEnded) this.write(session, { kind: "willGone" });
  }

  /** Does what is due for a session now. */
  tick(session: DurableSession): void {
    this.#tick(session, this.nowMs());
  }

  #turn(): void {
    const nowMs = this.nowMs();
    for (const session of [...this.#byId.values()]) this.#tick(session, nowMs);
  }

  #tick(session: DurableSession, nowMs: number): void {
    // Without room for a will it waits for the next turn, and the session with it (M14).
    if (session.connection !== undefined || this.#options.ingest.isFull) return;
    if (session.willDueMs !== undefined && session.willDueMs <= nowMs) this.#publishWill(session);
    if (session.expiresAtMs <= nowMs) this.end(session);
  }

  // ---- writing

  write(session: DurableSession, record: SessionRecord): void {
    if (session.isStale && record.kind !== "end") {
      session.isStale = false;
      this.#copy(session);
      return;
    }
    this.#append(session, record);
  }

  #append(session: DurableSession, record: SessionRecord): number {
    const bytes = encodeRecord(record);
    const { ingest } = this.#options;
    this.#logBytes += bytes.byteLength + 48;
    ingest.append(
      this.#writer,
      noText,
      session.key,
      noText,
      0,
      this.nowMs(),
      bytes,
      0,
      bytes.byteLength,
      undefined,
      -1,
      -1,
    );
    return bytes.byteLength + 48;
  }

  join(session: DurableSession): void {
    this.#options.ingest.join(session);
    this.#options.ingest.requestGroup();
  }

  /** Everything that the session is, beginning anew. */
  #copy(session: DurableSession): number {
    const { identity, expirySeconds, will, connection, expiresAtMs, willDueMs } = session;
    const attached = { expirySeconds, ...(identity !== undefined && { identity }), will: will && keepWill(will) };
    let bytes = this.#append(session, { kind: "begin", attached });
    if (connection === undefined) {
      const atMs = expiresAtMs - expirySeconds * 1_000;
      const due = willDueMs === undefined ? {} : { willDueMs };
      bytes += this.#append(session, { kind: "detach", detached: { atMs, expirySeconds, ...due } });
    }
    for (const subscription of session.state.subscriptions.values()) {
      bytes += this.#append(session, { kind: "subscribe", subscription });
    }
    for (const packetId of session.state.received) bytes += this.#append(session, { kind: "took", packetId });
    for (const { message, packetId, isReceived } of session.entries()) {
      if (!(message instanceof Stored)) continue;
      const queued = message.queued(packetId, isReceived);
      if (message.place) bytes += this.#append(session, { kind: "queue", queued, place: message.place });
      else if (message.variant)
        bytes += this.#append(session, { kind: "copy", queued, message: message.variant.message });
    }
    return bytes;
  }

  /**
   * After a group, with nothing open: writes the sessions anew, some with each group, and then forgets what precedes
   * them. Each copy is in one group and begins its session anew, so it may stop anywhere.
   */
  afterGroup(stored: boolean): void {
    if (!stored) {
      // Copies may be among what was not stored: nothing is forgotten, and the next attempt begins from the start.
      this.#copyStart = -1;
      this.#copies = [];
      return;
    }
    if (this.#copyStart < 0) {
      if (this.#logBytes < compactBytesMin || this.#logBytes < this.#copyBytes * 2) return;
      this.#copyStart = this.#writer.sequence;
      this.#copies = [...this.#byId.values()];
      this.#logBytes = 0;
      this.#copyBytes = 0;
    } else if (this.#copies.length === 0) {
      this.#trim(this.#copyStart);
      this.#copyStart = -1;
      return;
    }
    let bytes = 0;
    while (bytes < copyBytesPerGroup) {
      const session = this.#copies.pop();
      if (session === undefined) break;
      if (!session.isEnded) bytes += this.#copy(session);
    }
    this.#copyBytes += bytes;
    this.#options.ingest.requestGroup();
  }

  // ---- reading

  #restore(block: Uint8Array): void {
    const reader = new EventBlockReader(block);
    while (reader.next()) {
      const record = decodeRecord(reader.payload);
      if (record !== undefined) this.#apply(reader.key, record);
      this.#logBytes += reader.payload.byteLength + 48;
    }
  }

  #apply(clientId: string, record: SessionRecord): void {
    if (record.kind === "begin") this.#byId.delete(clientId);
    if (record.kind === "end") {
      this.#byId.delete(clientId);
      return;
    }
    const identity = record.kind === "begin" ? record.attached.identity : undefined;
    const session = this.#byId.get(clientId) ?? this.#make(clientId, identity);
    session.restore(record);
    if (record.kind === "begin" || record.kind === "attach") {
      session.will = record.attached.will && willOf(record.attached.will);
      session.willDueMs = undefined;
      session.expiresAtMs = Number.POSITIVE_INFINITY;
    } else if (record.kind === "detach") {
      const { atMs, expirySeconds, willDueMs } = record.detached;
      session.expirySeconds = expirySeconds;
      session.expiresAtMs = atMs + expirySeconds * 1_000;
      session.willDueMs = willDueMs;
      if (willDueMs === undefined) session.will = undefined;
    } else if (record.kind === "willGone") {
      session.will = undefined;
      session.willDueMs = undefined;
    }
  }

  /** Whoever was connected when the node stopped is not any more: time runs from now. */
  #settleRestored(): void {
    const nowMs = this.nowMs();
    for (const session of this.#byId.values()) {
      if (session.expiresAtMs === Number.POSITIVE_INFINITY) {
        session.expiresAtMs = nowMs + session.expirySeconds * 1_000;
        const delaySeconds = Math.min(session.will?.properties?.willDelaySeconds ?? 0, session.expirySeconds);
        session.willDueMs = session.will && nowMs + delaySeconds * 1_000;
      }
      for (const subscription of session.state.subscriptions.values()) {
        this.#options.fanOut.subscribers.add(session, subscription);
      }
    }
  }

  /**
   * Reads the messages that wait for a client that comes back; undefined when nothing has to be read. More can come while they are read: call it
   * again with the same `tried`, which has those that cannot be read.
   */
  load(session: DurableSession, tried: Set<object>): Promise<void> | undefined {
    const missing: Stored[] = [];
    for (const { message, isReceived } of session.entries()) {
      if (!(message instanceof Stored) || message.variant !== undefined || isReceived || tried.has(message)) continue;
      missing.push(message);
      tried.add(message);
    }
    return missing.length === 0 ? undefined : this.#load(session, missing);
  }

  async #load(session: DurableSession, missing: Stored[]): Promise<void> {
    if (session.isInGroup) await new Promise<void>((resolve) => session.later(resolve));
    const byChannel = new Map<string, Stored[]>();
    for (const stored of missing) {
      const { logId, writer } = stored.place ?? { logId: 0, writer: 0 };
      const channel = `${logId}/${writer}`;
      const list = byChannel.get(channel);
      if (list) list.push(stored);
      else byChannel.set(channel, [stored]);
    }
    for (const list of byChannel.values()) {
      list.sort((a, b) => (a.place?.sequence ?? 0) - (b.place?.sequence ?? 0));
      await this.#readChannel(list);
    }
  }

  async #readChannel(wanted: Stored[]): Promise<void> {
    const { log } = this.#options;
    let at = 0;
    while (at < wanted.length) {
      const place = wanted[at]?.place;
      if (place === undefined) return;
      let blocks: Uint8Array[];
      try {
        blocks = await log.read(place, place.sequence, readBytes);
      } catch {
        // No longer kept: the message is counted as lost when its turn comes.
        at += 1;
        continue;
      }
      if (blocks.length === 0) return;
      const before = at;
      for (const block of blocks) at = fill(wanted, at, block);
      if (at === before) at += 1;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** Gives the events of a block to the entries that wait for them, in ascending order; returns the first that still waits. */
const fill = (wanted: readonly Stored[], from: number, block: Uint8Array): number => {
  const reader = new EventBlockReader(block);
  let at = from;
  let message: FanOutMessage | undefined;
  while (at < wanted.length && reader.next()) {
    message = undefined;
    for (let next = wanted[at]; next?.place?.sequence === reader.sequence; next = wanted[at]) {
      message ??= messageOf(reader);
      next.variant = message.variant(next.qos, next.retain, next.identifiers);
      at += 1;
    }
  }
  return at;
};

const messageOf = (reader: EventBlockReader): FanOutMessage => {
  const properties = publishProperties(reader.properties());
  if (reader.deviceSequence >= 0) {
    // They left the properties when the event was stored.
    const numbers: [string, string][] = [
      ["hr-epoch", String(reader.deviceEpoch)],
      ["hr-seq", String(reader.deviceSequence)],
    ];
    properties.userProperties = [...numbers, ...(properties.userProperties ?? [])];
  }
  return new FanOutMessage(
    {
      topic: reader.topic,
      payload: reader.payload.slice(),
      qos: reader.qos === 2 ? 2 : 1,
      retain: (reader.flags & 4) !== 0,
      properties,
      publisher: reader.client,
    },
    undefined,
    reader.arrivalMs,
  );
};

/** What the protocol part of a session needs of the limits. */
export const sessionLimits = (limits: GatewayLimits): SubscriptionLimits => ({
  subscriptionsMax: limits.subscriptionsMax,
  shapeLevelsMax: limits.shapeLevelsMax,
  sharedSubscriptions: true,
});
