/** Repeats are recognised against a mark per device and stream: the highest (epoch, sequence) that was accepted. */

/** The mark of one device: what was accepted, and what of it is durable. */
export interface DeviceMark {
  epoch: number;
  sequence: number;
  durableEpoch: number;
  durableSequence: number;
  touched: boolean;
}

/** A mark as one append moves it. */
export interface MarkChange {
  readonly mark: DeviceMark;
  readonly epoch: number;
  readonly sequence: number;
}

const isAbove = (epoch: number, sequence: number, thanEpoch: number, thanSequence: number): boolean =>
  epoch > thanEpoch || (epoch === thanEpoch && sequence > thanSequence);

export class Marks {
  readonly #byDevice = new Map<string, DeviceMark>();
  #touched: DeviceMark[] = [];
  /** Sequenced events since the last snapshot. */
  sequencedCount = 0;

  get size(): number {
    return this.#byDevice.size;
  }
  entries(): IterableIterator<[string, DeviceMark]> {
    return this.#byDevice.entries();
  }
  has(device: string): boolean {
    return this.#byDevice.has(device);
  }

  /** The mark of a device, made when it is new. */
  of(device: string): DeviceMark {
    let mark = this.#byDevice.get(device);
    if (!mark) {
      mark = { epoch: -1, sequence: -1, durableEpoch: -1, durableSequence: -1, touched: false };
      this.#byDevice.set(device, mark);
    }
    return mark;
  }

  /** True when (epoch, sequence) is above the mark, which moves there as part of the open group; false for a repeat. */
  pass(mark: DeviceMark, epoch: number, sequence: number): boolean {
    if (!isAbove(epoch, sequence, mark.epoch, mark.sequence)) return false;
    if (!mark.touched) {
      mark.touched = true;
      this.#touched.push(mark);
    }
    mark.epoch = epoch;
    mark.sequence = sequence;
    this.sequencedCount += 1;
    return true;
  }

  /** As {@link pass}, for an append with an outcome of its own. */
  change(mark: DeviceMark, epoch: number, sequence: number, changes: MarkChange[]): boolean {
    if (!isAbove(epoch, sequence, mark.epoch, mark.sequence)) return false;
    mark.epoch = epoch;
    mark.sequence = sequence;
    changes.push({ mark, epoch, sequence });
    this.sequencedCount += 1;
    return true;
  }

  /** Moves a mark to what the log holds. */
  restore(device: string, epoch: number, sequence: number): void {
    const mark = this.of(device);
    if (isAbove(epoch, sequence, mark.epoch, mark.sequence)) {
      mark.epoch = mark.durableEpoch = epoch;
      mark.sequence = mark.durableSequence = sequence;
    }
  }

  /** Ends the open group: what it changed stays when it was stored. */
  settle(stored: boolean): void {
    if (this.#touched.length === 0) return;
    for (const mark of this.#touched) {
      mark.touched = false;
      if (stored) {
        mark.durableEpoch = mark.epoch;
        mark.durableSequence = mark.sequence;
      } else takeBack(mark);
    }
    this.#touched = [];
  }
}

const takeBack = (mark: DeviceMark): void => {
  mark.epoch = mark.durableEpoch;
  mark.sequence = mark.durableSequence;
};

/** Ends an append with an outcome of its own. */
export const settleChanges = (changes: readonly MarkChange[], stored: boolean): void => {
  for (const { mark, epoch, sequence } of changes) {
    if (!stored) takeBack(mark);
    else if (isAbove(epoch, sequence, mark.durableEpoch, mark.durableSequence)) {
      mark.durableEpoch = epoch;
      mark.durableSequence = sequence;
    }
  }
};

/** For gateway threads, which do not check: the log thread does, as it sees the blocks of all of them. */
export class UncheckedMarks extends Marks {
  readonly #any: DeviceMark = { epoch: -1, sequence: -1, durableEpoch: -1, durableSequence: -1, touched: false };
  override of(): DeviceMark {
    return this.#any;
  }
  override pass(): boolean {
    return true;
  }
}
