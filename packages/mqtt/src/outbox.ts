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

export interface OutboxOptions {
  /** The client's Receive Maximum: most QoS 1 messages without PUBACK, MQTT 5.0 §4.9. */
  readonly receiveMaximum: number;
  /** The client's Maximum Packet Size in bytes; Infinity when it set none. */
  readonly maximumPacketSize: number;
  /** Most messages that wait. */
  readonly queueMessagesMax: number;
  /** Most bytes that wait. */
  readonly queueBytesMax: number;
}

/** A waiting message that may be written now. */
export interface Outgoing<M> {
  readonly message: M;
  /** 0 for QoS 0. */
  readonly packetId: number;
}

interface Waiting<M> {
  readonly message: M;
  readonly bytes: number;
  readonly qos: 0 | 1;
}

/**
 * Messages on their way to one client: packet identifiers, the in-flight window and a bounded queue.
 *
 * Policy at the bound: the oldest waiting QoS 0 messages are dropped to make room; if that is not enough, the new
 * message is refused. QoS 1 messages are never dropped. `droppedCount` and `refusedCount` tell the edge.
 * Order: QoS 1 messages leave in the order in which they were offered, QoS 0 likewise (§4.6).
 */
export class Outbox<M> {
  /** Set to false while the socket does not take more; messages then wait. */
  writable = true;
  /** QoS 0 messages that were dropped from the queue. */
  droppedCount = 0;
  /** Messages that were not accepted. */
  refusedCount = 0;
  readonly #options: OutboxOptions;
  readonly #inFlight = new Map<number, M>();
  #queue: Waiting<M>[] = [];
  #queueHead = 0;
  #queueBytes = 0;
  #queuedQos0 = 0;
  #lastPacketId = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  get queuedCount(): number {
    return this.#queue.length - this.#queueHead;
  }

  get queuedBytes(): number {
    return this.#queueBytes;
  }

  /**
   * Offers a message whose PUBLISH takes `bytes` bytes. A result above 0 is the packet identifier with which to write
   * it now; the other results are in {@link offered}.
   */
  offer(message: M, bytes: number, qos: 0 | 1): number {
    if (bytes > this.#options.maximumPacketSize) {
      this.refusedCount += 1;
      return offered.tooLarge;
    }
    if (this.writable) {
      if (qos === 0 && this.#queuedQos0 === 0) return offered.sendQos0;
      if (qos === 1 && this.queuedCount === this.#queuedQos0 && this.#hasWindow()) return this.#send(message);
    }
    if (!this.#makeRoom(bytes)) {
      this.refusedCount += 1;
      return offered.refused;
    }
    this.#queue.push({ message, bytes, qos });
    this.#queueBytes += bytes;
    if (qos === 0) this.#queuedQos0 += 1;
    return offered.queued;
  }

  /** The next waiting message that may be written, or undefined. Call it after a PUBACK and when writable again. */
  take(): Outgoing<M> | undefined {
    if (!this.writable || this.queuedCount === 0) return undefined;
    let at = this.#queueHead;
    // A full window holds back QoS 1 only; QoS 0 behind it may pass.
    if (!this.#hasWindow()) {
      if (this.#queuedQos0 === 0) return undefined;
      while ((this.#queue[at] as Waiting<M>).qos === 1) at += 1;
    }
    const next = this.#removeAt(at);
    return { message: next.message, packetId: next.qos === 0 ? 0 : this.#send(next.message) };
  }

  /** Ends the flight of a message after its PUBACK and returns it; undefined for an identifier not in flight. */
  release(packetId: number): M | undefined {
    const message = this.#inFlight.get(packetId);
    this.#inFlight.delete(packetId);
    return message;
  }

  isInFlight(packetId: number): boolean {
    return this.#inFlight.has(packetId);
  }

  #hasWindow(): boolean {
    return this.#inFlight.size < this.#options.receiveMaximum;
  }

  #send(message: M): number {
    let packetId = this.#lastPacketId;
    // The window has at most 65,535 places and one of them is free, so an identifier is found.
    do packetId = packetId === 65_535 ? 1 : packetId + 1;
    while (this.#inFlight.has(packetId));
    this.#lastPacketId = packetId;
    this.#inFlight.set(packetId, message);
    return packetId;
  }

  #makeRoom(bytes: number): boolean {
    const { queueMessagesMax, queueBytesMax } = this.#options;
    const fits = (): boolean => this.queuedCount < queueMessagesMax && this.#queueBytes + bytes <= queueBytesMax;
    if (bytes > queueBytesMax) return false;
    while (!fits() && this.#queuedQos0 > 0) {
      let at = this.#queueHead;
      while ((this.#queue[at] as Waiting<M>).qos === 1) at += 1;
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
    if (removed.qos === 0) this.#queuedQos0 -= 1;
    return removed;
  }
}
