/** Where the blocks of each channel stand: in write-ahead segments (every block) and in history files (every merged block). */
import type { BlockHeader, Channel } from "@headrace/engine";

/** One block's place. `file` is a segment number or the name of a history file. */
export interface BlockPlace {
  readonly sequence: number;
  readonly recordCount: number;
  readonly offset: number;
  readonly byteLength: number;
}

/** The blocks of one channel in one segment or history file, ascending by sequence. */
export interface Run {
  readonly source:
    | { readonly kind: "segment"; readonly number: number }
    | { readonly kind: "history"; readonly path: string };
  readonly places: BlockPlace[];
}

export class ChannelIndex {
  readonly channel: Channel;
  epoch = 0;
  endSequence = 0;
  #runs: Run[] = [];

  constructor(channel: Channel) {
    this.channel = channel;
  }

  /** Sequence of the oldest record that can be read. */
  get startSequence(): number {
    return this.#runs[0]?.places[0]?.sequence ?? this.endSequence;
  }

  /** Adds a block that has just become durable in a segment. */
  add(segment: number, offset: number, header: BlockHeader): void {
    let run = this.#runs.at(-1);
    if (run?.source.kind !== "segment" || run.source.number !== segment) {
      run = { source: { kind: "segment", number: segment }, places: [] };
      this.#runs.push(run);
    }
    run.places.push({
      sequence: header.sequence,
      recordCount: header.recordCount,
      offset,
      byteLength: header.byteLength,
    });
    this.endSequence = header.sequence + header.recordCount;
    if (header.epoch > this.epoch) this.epoch = header.epoch;
  }

  /** Puts a history run where its segment's run stood. */
  replaceSegment(segment: number, run: Run | undefined): void {
    const at = this.#runs.findIndex(
      (candidate) => candidate.source.kind === "segment" && candidate.source.number === segment,
    );
    if (at >= 0) this.#runs.splice(at, 1, ...(run ? [run] : []));
  }
  /** Adds a history run at the start, before any segment is read. */
  addHistory(run: Run): void {
    this.#runs.push(run);
    const last = run.places.at(-1);
    if (last) this.endSequence = Math.max(this.endSequence, last.sequence + last.recordCount);
  }
  dropHistory(path: string): void {
    this.#runs = this.#runs.filter((run) => run.source.kind !== "history" || run.source.path !== path);
  }

  /** The places from the block that holds `fromSequence`, oldest first, until `maxBytes` are reached. */
  find(fromSequence: number, maxBytes: number): { source: Run["source"]; place: BlockPlace }[] {
    const found: { source: Run["source"]; place: BlockPlace }[] = [];
    let bytes = 0;
    for (const run of this.#runs) {
      const last = run.places.at(-1);
      if (!last || last.sequence + last.recordCount <= fromSequence) continue;
      for (let at = firstAtOrAfter(run.places, fromSequence); at < run.places.length; at++) {
        const place = run.places[at];
        if (found.length > 0 && bytes + place.byteLength > maxBytes) return found;
        found.push({ source: run.source, place });
        bytes += place.byteLength;
      }
    }
    return found;
  }
}

/** Index of the first place whose records reach `sequence`. */
const firstAtOrAfter = (places: readonly BlockPlace[], sequence: number): number => {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (places[middle].sequence + places[middle].recordCount <= sequence) low = middle + 1;
    else high = middle;
  }
  return low;
};
