import type { Qos } from "./packet.ts";

/** Answers of {@link Outbox.offer} that are not a packet identifier. */
export const offered = {
  /** Write it now as QoS 0. */
  sendQos0: 0,
  /** It waits; `take` hands it out later. */
  queued: -1,
  /** Not accepted: the queue is full of messages that may not be dropped, or a QoS 0 message found no room. */
  refused: -2,
  /** Not accepted: larger than the client's Maximum Packet Size (MQTT 5.0 §3.1.2.11.4). */
  tooLarge: -3,
} as const;

/** What a client allows on one connection. */
export interface OutboxWindow {
  /** The client's Receive Maximum: most QoS 1 and 2 messages without their end, MQTT 5.0 §4.9. */
  readonly receiveMaximum: number;
  /** The client's Maximum Packet Size in bytes; Infinity when it set none. */
  readonly maximumPacketSize: number;
}

/** Bytes that the outboxes of a server hold together for clients that are connected. */
export interface OutboxBudget {
  bytes: number;
  readonly bytesMax: number;
  /** What each outbox may still have in flight, and may still queue, while `bytes` is above `bytesMax`. */
  readonly floorBytes: number;
}

export interface OutboxOptions extends OutboxWindow {
  /** Most messages that wait. */
  readonly queueMessagesMax: number;
  /** Most bytes that wait. */
  readonly queueBytesMax: number;
  /** Bytes of QoS 1 and 2 messages without their end from which on no further one is sent. Default 4 MiB. */
  readonly inFlightBytesMax?: number;
  /** Shared with other outboxes. Default: none. */
  readonly budget?: OutboxBudget;
}

/** A message that may be written now. */
export interface Outgoing<M> {
  readonly message: M;
  /** 0 for QoS 0. */
  readonly packetId: number;
  /** `publish`: for the first time; `again`: with DUP after a reconnect; `release`: PUBREL again, the message has arrived. */
  readonly step: "publish" | "again" | "release";
}

/** A message that has its packet identifier. */
export interface InFlight<M> {
  readonly packetId: number;
  readonly message: M;
  readonly qos: 1 | 2;
  /** QoS 2: PUBREC has come. */
  readonly isReceived: boolean;
}

interface Flight<M> {
  readonly message: M;
  readonly bytes: number;
}

/** A message that waits for its turn. */
export interface Waiting<M> {
  readonly message: M;
  readonly bytes: number;
  readonly qos: Qos;
}

/**
 * Messages on their way to one client: packet identifiers, the in-flight window and a bounded queue. It outlives a
 * connection when its session does: `pause` when the connection ends, `resume` when the next one begins.
 *
 * Policy at the bound: the oldest waiting QoS 0 messages are dropped to make room; if that is not enough, the new
 * message is refused. QoS 1 and 2 messages are never dropped. `droppedCount` and `refusedCount` tell the edge.
 * Order: QoS 1 and 2 messages leave in the order in which they were offered, QoS 0 likewise (§4.6).
 */
export class Outbox<M> {
  /** Set to false while the socket does not take more; messages then wait. */
  writable = true;
  /** QoS 0 messages that were dropped from the queue. */
  droppedCount = 0;
  /** Messages that were not accepted. */
  refusedCount = 0;
  readonly #options: OutboxOptions;
  #window: OutboxWindow;
  readonly #inFlight = new Map<number, Flight<M>>();
  #inFlightBytes = 0;
  /** False while the client is away: what it holds then can be read again from elsewhere, and is not charged. */
  #isCharged = true;
  /** Identifiers of QoS 2 messages in flight: whether PUBREC has come. Made when the first one is sent. */
  #exact: Map<number, boolean> | undefined;
  /** In flight since an earlier connection and not sent again on this one yet. */
  #again: number[] = [];
  #queue: Waiting<M>[] = [];
  #queueHead = 0;
  #queueBytes = 0;
  #queuedQos0 = 0;
  #lastPacketId = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#window = options;
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  get queuedCount(): number {
    return this.#queue.length - this.#queueHead;
  }

  get queuedBytes(): number {
    return this.#queueBytes;
  }

  /** Messages with an identifier, in the order in which they were sent. */
  *inFlight(): Generator<InFlight<M>> {
    for (const [packetId, { message }] of this.#inFlight) {
      const isReceived = this.#exact?.get(packetId);
      yield { packetId, message, qos: isReceived === undefined ? 1 : 2, isReceived: isReceived ?? false };
    }
  }

  /** Messages that wait, in the order in which they will leave. */
  *waiting(): Generator<Waiting<M>> {
    for (let at = this.#queueHead; at < this.#queue.length; at += 1) yield this.#queue[at] as Waiting<M>;
  }

  /**
   * Offers a message whose PUBLISH takes `bytes` bytes. A result above 0 is the packet identifier with which to write
   * it now; the other results are in {@link offered}.
   */
  offer(message: M, bytes: number, qos: Qos): number {
    if (bytes > this.#window.maximumPacketSize) {
      this.refusedCount += 1;
      return offered.tooLarge;
    }
    if (this.writable) {
      if (qos === 0 && this.#queuedQos0 === 0) return offered.sendQos0;
      if (qos !== 0 && this.queuedCount === this.#queuedQos0 && this.#hasWindow() && this.#again.length === 0) {
        return this.#send(message, bytes, qos);
      }
    }
    if (!this.#makeRoom(bytes)) {
      this.refusedCount += 1;
      return offered.refused;
    }
    this.#enqueue({ message, bytes, qos });
    return offered.queued;
  }

  /** Puts back a message of a session that is restored: in flight with its identifier, or waiting with 0. */
  restore(message: M, bytes: number, qos: 1 | 2, packetId: number, isReceived = false): void {
    if (packetId === 0) {
      this.#enqueue({ message, bytes, qos });
      return;
    }
    this.#fly(packetId, message, bytes);
    if (qos === 2) this.#exactly().set(packetId, isReceived);
    this.#lastPacketId = packetId;
  }

  /** What the next `take` outside of the window's bounds would hand out; undefined when nothing waits. */
  peek(): Waiting<M> | undefined {
    return this.#queue[this.#queueHead];
  }

  /** Drops the oldest waiting message. */
  dropFirst(): void {
    if (this.queuedCount > 0) this.#removeAt(this.#queueHead);
  }

  /** Removes a waiting message, wherever it stands; false when it does not wait. */
  remove(message: M): boolean {
    for (let at = this.#queueHead; at < this.#queue.length; at += 1) {
      if ((this.#queue[at] as Waiting<M>).message !== message) continue;
      this.#removeAt(at);
      return true;
    }
    return false;
  }

  /** The next message that may be written, or undefined. Call it after an acknowledgement and when writable again. */
  take(): Outgoing<M> | undefined {
    if (!this.writable) return undefined;
    if (this.#again.length > 0) return this.#takeAgain();
    if (this.queuedCount === 0) return undefined;
    let at = this.#queueHead;
    // A full window holds back QoS 1 and 2 only; QoS 0 behind them may pass.
    if (!this.#hasWindow()) {
      if (this.#queuedQos0 === 0) return undefined;
      while ((this.#queue[at] as Waiting<M>).qos !== 0) at += 1;
    }
    const next = this.#removeAt(at);
    return {
      message: next.message,
      packetId: next.qos === 0 ? 0 : this.#send(next.message, next.bytes, next.qos),
      step: "publish",
    };
  }

  /** The connection is gone: everything waits, QoS 0 too. */
  pause(): void {
    this.writable = false;
    this.#again = [];
    this.#charge(-this.#inFlightBytes - this.#queueBytes);
    this.#isCharged = false;
  }

  /** The session goes on over another connection: what is in flight is handed out again first (§4.4). */
  resume(window: OutboxWindow): void {
    this.#window = window;
    this.writable = true;
    if (!this.#isCharged) {
      this.#isCharged = true;
      this.#charge(this.#inFlightBytes + this.#queueBytes);
    }
    this.#again = [...this.#inFlight.keys()];
  }

  /** Ends the flight of a QoS 1 message after its PUBACK and returns it; undefined for an identifier not in flight. */
  release(packetId: number): M | undefined {
    const flight = this.#inFlight.get(packetId);
    if (flight === undefined) return undefined;
    this.#inFlight.delete(packetId);
    this.#inFlightBytes -= flight.bytes;
    this.#charge(-flight.bytes);
    this.#exact?.delete(packetId);
    if (this.#again.length > 0) this.#again = this.#again.filter((other) => other !== packetId);
    return flight.message;
  }

  isInFlight(packetId: number): boolean {
    return this.#inFlight.has(packetId);
  }

  /** Whether the identifier belongs to a QoS 2 message in flight. */
  isExact(packetId: number): boolean {
    return this.#exact?.has(packetId) ?? false;
  }

  /** PUBREC has come for it. */
  isReceived(packetId: number): boolean {
    return this.#exact?.get(packetId) ?? false;
  }

  /** PUBREC came for a QoS 2 message in flight. */
  received(packetId: number): void {
    if (this.isExact(packetId)) this.#exactly().set(packetId, true);
  }

  #takeAgain(): Outgoing<M> | undefined {
    if (this.#inFlight.size - this.#again.length >= this.#window.receiveMaximum) return undefined;
    const packetId = this.#again.shift() as number;
    const { message } = this.#inFlight.get(packetId) as Flight<M>;
    return { message, packetId, step: this.isReceived(packetId) ? "release" : "again" };
  }

  #hasWindow(): boolean {
    const { size } = this.#inFlight;
    if (size >= this.#window.receiveMaximum) return false;
    const { inFlightBytesMax = 4 * 1_048_576 } = this.#options;
    // At least one, however large: it can only end by being sent.
    return size === 0 || this.#inFlightBytes < this.#bound(inFlightBytesMax);
  }

  /** A bound of this outbox, or what is left of it while all together hold too much. */
  #bound(bytesMax: number): number {
    const { budget } = this.#options;
    return budget !== undefined && budget.bytes > budget.bytesMax ? Math.min(bytesMax, budget.floorBytes) : bytesMax;
  }

  #charge(bytes: number): void {
    const { budget } = this.#options;
    if (budget !== undefined && this.#isCharged) budget.bytes += bytes;
  }

  #fly(packetId: number, message: M, bytes: number): void {
    this.#inFlight.set(packetId, { message, bytes });
    this.#inFlightBytes += bytes;
    this.#charge(bytes);
  }

  #exactly(): Map<number, boolean> {
    this.#exact ??= new Map();
    return this.#exact;
  }

  #enqueue(waiting: Waiting<M>): void {
    this.#queue.push(waiting);
    this.#queueBytes += waiting.bytes;
    this.#charge(waiting.bytes);
    if (waiting.qos === 0) this.#queuedQos0 += 1;
  }

  #send(message: M, bytes: number, qos: Qos): number {
    let packetId = this.#lastPacketId;
    // The window has at most 65,535 places and one of them is free, so an identifier is found.
    do packetId = packetId === 65_535 ? 1 : packetId + 1;
    while (this.#inFlight.has(packetId));
    this.#lastPacketId = packetId;
    this.#fly(packetId, message, bytes);
    if (qos === 2) this.#exactly().set(packetId, false);
    return packetId;
  }

  #makeRoom(bytes: number): boolean {
    const { queueMessagesMax } = this.#options;
    const queueBytesMax = this.#bound(this.#options.queueBytesMax);
    const fits = (): boolean => this.queuedCount < queueMessagesMax && this.#queueBytes + bytes <= queueBytesMax;
    if (bytes > queueBytesMax) return false;
    while (!fits() && this.#queuedQos0 > 0) {
      let at = this.#queueHead;
      while ((this.#queue[at] as Waiting<M>).qos !== 0) at += 1;
      this.#removeAt(at);
      this.droppedCount += 1;
    }
    return fits();
  }

  #removeAt(at: number): Waiting<M> {
    const removed = this.#queue[at] as Waiting<M>;
    if (at === this.#queueHead) {
      this.#queueHead += 1;
      if (this.#queueHead > 64 && this.#queueHead * 2 > this.#queue.length) {
        this.#queue = this.#queue.slice(this.#queueHead);
        this.#queueHead = 0;
      }
    } else this.#queue.splice(at, 1);
    this.#queueBytes -= removed.bytes;
    this.#charge(-removed.bytes);
    if (removed.qos === 0) this.#queuedQos0 -= 1;
    return removed;
  }
}
