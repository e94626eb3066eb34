/** The messages of one device that the server has not acknowledged, in the order in which they were made. Pure. */

/** A QoS 1 message until its PUBACK. */
export interface InflightMessage {
  readonly packetId: number;
  /** `hr-seq`; 0 for one without sequence (the acknowledgement of a command). */
  readonly sequence: number;
  /** The encoded PUBLISH. */
  readonly bytes: Uint8Array;
  /** Whether it is sent on the present connection. */
  onWire: boolean;
  /** Whether it was ever sent: then it is sent again with DUP. */
  sent: boolean;
  /** When it was last sent. */
  sentMs: number;
}

/** Bit 3 of the first byte of a PUBLISH, MQTT 5.0 §3.3.1.1. */
const duplicateFlag = 0x08;

export class Inflight {
  /** What the server takes at once (Receive Maximum of its CONNACK). */
  receiveMaximum = 65_535;
  readonly #messages = new Map<number, InflightMessage>();
  #lastPacketId = 0;
  #onWire = 0;

  get size(): number {
    return this.#messages.size;
  }

  /** Adds a message that `encode` makes for the packet identifier it gets. */
  add(sequence: number, encode: (packetId: number) => Uint8Array): void {
    // 65,535 is left to SUBSCRIBE.
    do this.#lastPacketId = (this.#lastPacketId % 65_534) + 1;
    while (this.#messages.has(this.#lastPacketId));
    const packetId = this.#lastPacketId;
    this.#messages.set(packetId, {
      packetId,
      sequence,
      bytes: encode(packetId),
      onWire: false,
      sent: false,
      sentMs: 0,
    });
  }

  /** Marks what may be sent now, oldest first, and hands it to `send`; false from `send` ends it. */
  pump(nowMs: number, send: (message: InflightMessage, again: boolean) => boolean): void {
    if (this.#onWire === this.#messages.size) return;
    for (const message of this.#messages.values()) {
      if (this.#onWire >= this.receiveMaximum) return;
      if (message.onWire) continue;
      const again = message.sent;
      if (again) message.bytes[0]! |= duplicateFlag;
      message.onWire = true;
      message.sent = true;
      message.sentMs = nowMs;
      this.#onWire += 1;
      if (!send(message, again)) return;
    }
  }

  /** Removes the message that the server answered; undefined when there is none (an answer to an earlier connection). */
  take(packetId: number): InflightMessage | undefined {
    const message = this.#messages.get(packetId);
    if (message === undefined || !message.onWire) return undefined;
    this.#messages.delete(packetId);
    this.#onWire -= 1;
    return message;
  }

  /** The connection is gone: everything has to be sent again. */
  disconnected(): void {
    for (const message of this.#messages.values()) message.onWire = false;
    this.#onWire = 0;
  }
}
