/**
 * The fence, decided in one place for every log that keeps its own channels: which appends of a group are admitted. An append is admitted whole
 * or not at all, and each one sees what those before it in the group will have made of the channels.
 */
import type { BlockHeader } from "../block/header.ts";
import type { Channel } from "./port.ts";

/** What the next block of a channel must carry: at least this epoch, and exactly this sequence. */
export interface ChannelEnd {
  readonly epoch: number;
  readonly endSequence: number;
}

/** Why an append was refused: the first of its blocks that cannot follow, and what is expected there. */
export interface Refusal {
  readonly header: FencedHeader;
  readonly expected: ChannelEnd;
}

/** The part of a block's header that the fence looks at. */
export type FencedHeader = Pick<BlockHeader, "logId" | "writer" | "epoch" | "sequence" | "recordCount">;

export class GroupFence<End extends ChannelEnd = ChannelEnd> {
  readonly #endOf: (channel: Channel) => End;
  readonly #ends = new Map<End, ChannelEnd>();

  /** @param endOf the channel as stored, the same object at each call */
  constructor(endOf: (channel: Channel) => End) {
    this.#endOf = endOf;
  }

  /** Counts a block that is in the group already, of a writer that the log itself vouches for. */
  note(header: FencedHeader): void {
    const stored = this.#endOf(header);
    this.#ends.set(stored, after(header, this.#ends.get(stored) ?? stored));
  }

  /** Admits all blocks of one append, or says which one is refused and changes nothing. */
  admit(headers: readonly FencedHeader[]): Refusal | undefined {
    const own = new Map<End, ChannelEnd>();
    for (const header of headers) {
      const stored = this.#endOf(header);
      const expected = own.get(stored) ?? this.#ends.get(stored) ?? stored;
      if (header.epoch < expected.epoch || header.sequence !== expected.endSequence) return { header, expected };
      own.set(stored, after(header, expected));
    }
    for (const [stored, end] of own) this.#ends.set(stored, end);
    return undefined;
  }

  /** Channels that the group changes, with what they are behind it. */
  get ends(): ReadonlyMap<End, ChannelEnd> {
    return this.#ends;
  }
}

const after = ({ epoch, sequence, recordCount }: FencedHeader, before: ChannelEnd): ChannelEnd => ({
  epoch: Math.max(epoch, before.epoch),
  endSequence: sequence + recordCount,
});

/** The epoch of a channel that is taken over: the one asked for, or one more than before. Undefined: the channel has seen a larger one. */
export const fencedEpoch = (current: number, asked: number | undefined): number | undefined => {
  if (asked === undefined) return current + 1;
  return asked < current ? undefined : asked;
};
