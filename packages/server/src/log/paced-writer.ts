/**
 * Large files behind the message path are made durable piece by piece: one sync of tens of MiB would keep the write-ahead log's own sync waiting for as long
 * as the disk needs for them.
 */
import type { Files } from "@headrace/engine";

const pieceBytes = 1024 * 1024;

export class PacedWriter {
  readonly #files: Files;
  readonly #descriptor: number;
  #unsyncedBytes = 0;

  constructor(files: Files, descriptor: number) {
    this.#files = files;
    this.#descriptor = descriptor;
  }

  /** Writes all of `bytes`, at `position` or behind the last write. */
  write(bytes: Uint8Array, position?: number): void {
    for (let at = 0; at < bytes.byteLength; ) {
      const place = position === undefined ? undefined : position + at;
      at += this.#files.write(this.#descriptor, bytes, at, bytes.byteLength - at, place);
    }
    this.#unsyncedBytes += bytes.byteLength;
    if (this.#unsyncedBytes >= pieceBytes) this.sync();
  }

  /** Makes what was written durable. */
  sync(): void {
    this.#unsyncedBytes = 0;
    this.#files.fsync(this.#descriptor);
  }
}
