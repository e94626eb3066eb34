/** Places of the blocks of one channel in one write-ahead segment, packed: 12 bytes a block, whatever it holds. */

/** One block's place in a segment. */
export interface BlockPlace {
  readonly sequence: number;
  readonly offset: number;
  readonly byteLength: number;
}

/** Numbers of a block: sequence behind the first one's, offset, length. */
const fields = 3;
const blocksMin = 4;
const uint32Max = 0xffffffff;

export class PackedPlaces {
  readonly firstSequence: number;
  #numbers = new Uint32Array(blocksMin * fields);
  #count = 0;
  #endSequence: number;

  constructor(firstSequence: number) {
    this.firstSequence = firstSequence;
    this.#endSequence = firstSequence;
  }

  get count(): number {
    return this.#count;
  }
  /** Sequence behind the last record. */
  get endSequence(): number {
    return this.#endSequence;
  }
  /** Memory that the places take: at most half as much again as what is needed. */
  get byteLength(): number {
    return this.#numbers.byteLength;
  }

  /** Adds the next block; false, and nothing added, when it does not follow the last one or lies too far off to be packed. */
  add(sequence: number, recordCount: number, offset: number, byteLength: number): boolean {
    const relative = sequence - this.firstSequence;
    if (sequence !== this.#endSequence || relative > uint32Max || offset > uint32Max) return false;
    const at = this.#count * fields;
    if (at === this.#numbers.length) {
      const grown = new Uint32Array(Math.ceil(this.#count * 1.5) * fields);
      grown.set(this.#numbers);
      this.#numbers = grown;
    }
    this.#numbers[at] = relative;
    this.#numbers[at + 1] = offset;
    this.#numbers[at + 2] = byteLength;
    this.#count += 1;
    this.#endSequence = sequence + recordCount;
    return true;
  }

  at(index: number): BlockPlace {
    const at = index * fields;
    return {
      sequence: this.firstSequence + this.#numbers[at],
      offset: this.#numbers[at + 1],
      byteLength: this.#numbers[at + 2],
    };
  }

  /** Index of the block that holds `sequence`, or of the first one when that is behind it; `count` when all are before it. */
  indexOf(sequence: number): number {
    if (sequence >= this.#endSequence) return this.#count;
    return Math.max(
      0,
      firstIndex(this.#count, (index) => this.firstSequence + this.#numbers[index * fields] > sequence) - 1,
    );
  }
}

/** The first of `count` ascending things of which `isBehind` is true; `count` when it is true of none. */
export const firstIndex = (count: number, isBehind: (index: number) => boolean): number => {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBehind(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
};
