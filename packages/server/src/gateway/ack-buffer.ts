/** PUBACKs of one connection in the order of its messages, held back until their group is durable. */
import { encodePuback, packetTypes, pubackBytes, shortPuback } from "@headrace/mqtt";

export class AckBuffer {
  #bytes = Buffer.allocUnsafeSlow(256);
  #length = 0;
  /** Messages that were accepted and wait. */
  #count = 0;
  #sealedLength = 0;
  #sealedCount = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** The PUBACK of an accepted message. */
  add(packetId: number): void {
    this.#grow(pubackBytes);
    this.#length = encodePuback(this.#bytes, this.#length, packetId);
    this.#count += 1;
  }
  /** The PUBACK of a refused one: it keeps its place. */
  addRefusal(bytes: Uint8Array): void {
    this.#grow(bytes.byteLength);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  #grow(byteLength: number): void {
    if (this.#length + byteLength <= this.#bytes.byteLength) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.byteLength * 2, this.#length + byteLength));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }

  seal(): void {
    this.#sealedLength = this.#length;
    this.#sealedCount = this.#count;
  }

  /** The sealed bytes, valid until {@link drop}. */
  get sealedBytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#sealedLength);
  }
  get sealedCount(): number {
    return this.#sealedCount;
  }
  /** Identifiers of the sealed messages that were accepted. */
  *sealedIds(): Generator<number> {
    for (let at = 0; at < this.#sealedLength; at += 2 + this.#bytes[at + 1]) {
      const id = shortPuback(this.#bytes, at + 2, at + 2 + this.#bytes[at + 1]);
      if (this.#bytes[at] === packetTypes.puback << 4 && id !== 0) yield id;
    }
  }

  /** Forgets what was sealed. */
  drop(): void {
    this.#bytes.copyWithin(0, this.#sealedLength, this.#length);
    this.#length -= this.#sealedLength;
    this.#count -= this.#sealedCount;
    this.#sealedLength = 0;
    this.#sealedCount = 0;
  }
}
