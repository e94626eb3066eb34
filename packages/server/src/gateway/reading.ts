/**
 * What a client has sent and what of it is not scanned yet. As long as there is room for it, it is scanned at once; else the client
 * is not read, so that TCP slows it down (P7): the first thing to do under load, before anything is refused.
 */
import type { PacketScanner } from "@headrace/mqtt";
import type { Patience } from "./patience.ts";
import type { Shared } from "./shared.ts";
import type { Wire } from "./transports/transport.ts";

export interface ReadingParts {
  readonly shared: Shared;
  readonly wire: Wire;
  readonly scanner: PacketScanner;
  readonly patience: Patience;
  /** Scans until the scanner has no input, the connection closes, or the client is held. */
  readonly scan: () => void;
  readonly isConnected: () => boolean;
  readonly isClosing: () => boolean;
  /** Whether the client has so much in the groups that are open or on their way that it has to wait for them. */
  readonly mustWaitForGroup: () => boolean;
}

export class Reading {
  readonly #parts: ReadingParts;
  #chunks: Buffer[] = [];
  #isHeld = false;
  /** True while the client does not take its answers. */
  #isStalled = false;
  #waitsForGroup = false;
  /** Bytes that may be read at once; below 0 the client waits until it has them again. */
  #allowanceBytes: number;
  #allowanceMs = performance.now();
  /** Wall clock at the chunk that is being scanned. */
  arrivalMs = 0;

  constructor(parts: ReadingParts) {
    this.#parts = parts;
    this.#allowanceBytes = parts.shared.limits.clientBytesPerSecondMax;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  received(chunk: Buffer): void {
    if (this.#parts.isClosing()) return;
    this.#chunks.push(chunk);
    if (!this.#isHeld) this.#read();
  }

  #read(): void {
    const { scanner, scan, isClosing } = this.#parts;
    for (;;) {
      if (isClosing()) return;
      if (this.#mustHold()) {
        this.#hold();
        return;
      }
      if (!scanner.hasInput) {
        const chunk = this.#chunks.shift();
        if (chunk === undefined) return;
        this.#allowanceBytes -= chunk.byteLength;
        scanner.feed(chunk);
        this.arrivalMs = this.#parts.shared.nowMs();
      }
      scan();
      if (this.#isHeld) return;
    }
  }

  /** Each reason has somebody who lets go of the client again. */
  #mustHold(): boolean {
    const { shared, wire, isConnected, mustWaitForGroup } = this.#parts;
    const { ingest, limits } = shared;
    // Who is not connected yet brings no messages, and is to hear what is the matter.
    if (ingest.isFull && isConnected()) ingest.pauseUntilRoom(() => this.#release());
    else if (mustWaitForGroup()) this.#waitsForGroup = true;
    else if (wire.writableLength > limits.subscriberBytesMax) this.#isStalled = true;
    else if (this.#allowanceBytes < 0 && this.#debtMs() > 0) setTimeout(() => this.#release(), this.#debtMs()).unref();
    else return false;
    return true;
  }

  /** How long until the client has paid for what it sent; a second's worth may be saved up. */
  #debtMs(): number {
    const bytesPerSecond = this.#parts.shared.limits.clientBytesPerSecondMax;
    const nowMs = performance.now();
    const earned = ((nowMs - this.#allowanceMs) * bytesPerSecond) / 1_000;
    this.#allowanceMs = nowMs;
    this.#allowanceBytes = Math.min(bytesPerSecond, this.#allowanceBytes + earned);
    return this.#allowanceBytes >= 0 ? 0 : Math.ceil((-this.#allowanceBytes * 1_000) / bytesPerSecond);
  }

  #hold(): void {
    this.#isHeld = true;
    this.#parts.patience.held(this.#isStalled ? "client" : "node");
    this.#parts.wire.pause();
  }
  #release(): void {
    this.#isHeld = false;
    this.#parts.patience.released();
    this.#read();
    if (!this.#isHeld && !this.#parts.isClosing()) this.#parts.wire.resume();
  }

  /** Reads nothing until `done`. */
  wait(done: Promise<void>): void {
    this.#hold();
    void done.then(() => {
      if (!this.#parts.wire.destroyed) this.#release();
    });
  }

  /** The socket has taken everything. */
  drained(): void {
    if (!this.#isStalled) return;
    this.#isStalled = false;
    this.#release();
  }

  /** A group of the client is settled; not at once, for others are being told as well. */
  groupSettled(): void {
    if (!this.#waitsForGroup) return;
    this.#waitsForGroup = false;
    setImmediate(() => this.#release());
  }

  /** Nothing more is scanned. */
  stop(): void {
    this.#chunks = [];
  }
}
