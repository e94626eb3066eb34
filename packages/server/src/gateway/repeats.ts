/** Repeats are recognised against a mark per device and stream: the highest (epoch, sequence) that was accepted. */

/** The mark of one device. What an unsettled group changed can be taken back. */
export interface DeviceMark {
  epoch: number;
  sequence: number;
  priorEpoch: number;
  priorSequence: number;
  touched: boolean;
}

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
      mark = { epoch: -1, sequence: -1, priorEpoch: -1, priorSequence: -1, touched: false };
      this.#byDevice.set(device, mark);
    }
    return mark;
  }

  /** True when (epoch, sequence) is above the mark, which moves there; false for a repeat. */
  pass(mark: DeviceMark, epoch: number, sequence: number): boolean {
    if (epoch < mark.epoch || (epoch === mark.epoch && sequence <= mark.sequence)) return false;
    if (!mark.touched) {
      mark.touched = true;
      mark.priorEpoch = mark.epoch;
      mark.priorSequence = mark.sequence;
      this.#touched.push(mark);
    }
    mark.epoch = epoch;
    mark.sequence = sequence;
    this.sequencedCount += 1;
    return true;
  }

  /** Moves a mark to what the log holds. */
  restore(device: string, epoch: number, sequence: number): void {
    const mark = this.of(device);
    if (epoch < mark.epoch || (epoch === mark.epoch && sequence <= mark.sequence)) return;
    mark.epoch = epoch;
    mark.sequence = sequence;
  }

  /** Ends a group: what it changed stays when it was stored. */
  settle(stored: boolean): void {
    if (this.#touched.length === 0) return;
    for (const mark of this.#touched) {
      mark.touched = false;
      if (stored) continue;
      mark.epoch = mark.priorEpoch;
      mark.sequence = mark.priorSequence;
    }
    this.#touched = [];
  }
}
