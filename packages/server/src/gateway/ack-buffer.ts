/** PUBACKs and PUBRECs of one connection in the order of its messages, held back until their group is durable. */
import { encodePuback, packetTypes, pubackBytes, shortPuback } from "@headrace/mqtt";

export class AckBuffer {
  #bytes = Buffer.allocUnsafeSlow(256);
  #length = 0;
  /** Messages that were accepted and wait. */
  #count = 0;
  #sealedLength = 0;
  #sealedCount = 0;

  /** Bytes that wait, of the open group and the sealed one. */
  get byteLength(): number {
    return this.#length;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** The PUBACK of an accepted message. */
  add(packetId: number): void {
    this.#grow(pubackBytes);
    this.#length = encodePuback(this.#bytes, this.#length, packetId);
    this.#count += 1;
  }
  /** The PUBREC of an accepted QoS 2 message. */
  addExact(packetId: number): void {
    this.#grow(pubackBytes);
    const at = this.#length;
    this.#length = encodePuback(this.#bytes, at, packetId);
    this.#bytes[at] = packetTypes.pubrec << 4;
  }
  /** Any other answer: it keeps its place. */
  addAnswer(bytes: Uint8Array): void {
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
  /** The sealed messages that were accepted. */
  *sealedIds(): Generator<{ readonly packetId: number; readonly type: number }> {
    for (let at = 0; at < this.#sealedLength; at += 2 + this.#bytes[at + 1]) {
      const packetId = shortPuback(this.#bytes, at + 2, at + 2 + this.#bytes[at + 1]);
      const type = this.#bytes[at] >> 4;
      if ((type === packetTypes.puback || type === packetTypes.pubrec) && packetId !== 0) yield { packetId, type };
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
