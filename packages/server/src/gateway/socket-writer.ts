/** Bytes to one socket, coalesced: one write per turn, one buffer used again while the socket keeps up. */
import { type EncodedPublish, type OutboxBudget, patchPublish, writePublish } from "@headrace/mqtt";
import type { Wire } from "./transports/transport.ts";

const startBytes = 512;
const keptBytes = 64 * 1024;

export class SocketWriter {
  readonly #socket: Wire;
  readonly #budget: OutboxBudget;
  readonly #flushLater: (writer: SocketWriter) => void;
  /** What of the socket's backlog is charged to the budget. */
  #chargedBytes = 0;
  #buffer = Buffer.allocUnsafeSlow(startBytes);
  #length = 0;
  #asked = false;

  constructor(socket: Wire, budget: OutboxBudget, flushLater: (writer: SocketWriter) => void) {
    this.#socket = socket;
    this.#budget = budget;
    this.#flushLater = flushLater;
  }

  /** Bytes that the socket has not taken. */
  get backlogBytes(): number {
    return this.#length + this.#socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.byteLength);
    this.#buffer.set(bytes, at);
  }

  publish(template: EncodedPublish, packetId: number, patch?: Parameters<typeof patchPublish>[3]): void {
    const at = this.#reserve(template.bytes.byteLength);
    writePublish(this.#buffer, at, template, packetId);
    if (patch !== undefined) patchPublish(this.#buffer, at, template, patch);
  }

  #reserve(byteLength: number): number {
    const at = this.#length;
    const needed = at + byteLength;
    if (needed > this.#buffer.byteLength) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.byteLength * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    this.#length = needed;
    if (!this.#asked) {
      this.#asked = true;
      this.#flushLater(this);
    }
    return at;
  }

  flush(): void {
    this.#asked = false;
    if (this.#length === 0 || this.#socket.destroyed) return;
    this.#socket.write(this.#buffer.subarray(0, this.#length));
    // The kernel has taken all when nothing is left over; otherwise the socket keeps the buffer.
    if (this.#socket.writableLength > 0) {
      this.#buffer = Buffer.allocUnsafeSlow(startBytes);
      this.settle();
    } else if (this.#buffer.byteLength > keptBytes) this.#buffer = Buffer.allocUnsafeSlow(startBytes);
    this.#length = 0;
  }

  /** Charges what the socket has not taken. */
  settle(): void {
    const bytes = this.#socket.writableLength;
    this.#budget.bytes += bytes - this.#chargedBytes;
    this.#chargedBytes = bytes;
  }

  close(): void {
    this.#budget.bytes -= this.#chargedBytes;
    this.#chargedBytes = 0;
  }
}
