/**
 * Where the blocks of each channel stand: in write-ahead segments every block, packed; of a history file only from where to where it goes. Which blocks
 * a history file has is in its footer, read when it is asked for: memory grows with files and with what is not yet rewritten, never with what is kept.
 */
import type { BlockHeader, Channel } from "@headrace/engine";
import type { HeadraceError } from "@headrace/sdk";
import type { HistoryEntry, HistoryFooter } from "./history-file.ts";
import { type BlockPlace, firstIndex, PackedPlaces } from "./places.ts";

export interface SegmentRun {
  readonly kind: "segment";
  readonly number: number;
  readonly places: PackedPlaces;
}

/** Consecutive entries of one writer in a history file. */
export interface HistoryRun {
  readonly kind: "history";
  readonly path: string;
  /** Of the first record. */
  readonly firstSequence: number;
  /** Behind the last record. */
  readonly endSequence: number;
  /** Indexes of the first entry in the footer, and behind the last. */
  readonly fromEntry: number;
  readonly toEntry: number;
}

/** A history file that cannot be read. */
export interface FileDamage {
  /** The segment that the file was made of. */
  readonly segment: number;
  readonly error: HeadraceError;
}

/** A block that was found. */
export type Found =
  | { readonly kind: "segment"; readonly number: number; readonly place: BlockPlace }
  | { readonly kind: "history"; readonly path: string; readonly entry: HistoryEntry };

/** What an object with some fields takes in memory, roughly: for the bound. */
const runBytes = 160;

export class ChannelIndex {
  readonly channel: Channel;
  epoch = 0;
  endSequence = 0;
  #runs: (SegmentRun | HistoryRun)[] = [];
  #damage: FileDamage | undefined;

  constructor(channel: Channel) {
    this.channel = channel;
  }

  /** Sequence of the oldest record that is kept; 0 while it may be in a file that is damaged: what nobody can read has not expired. */
  get startSequence(): number {
    const [run] = this.#runs;
    if (this.#damage && (!run || segmentOf(run) > this.#damage.segment)) return 0;
    return run ? firstOf(run) : this.endSequence;
  }

  /** A history file of the log cannot be read: neither can what is in it or before it (ADR 0019). */
  markDamaged(damage: FileDamage): void {
    if (!this.#damage || damage.segment > this.#damage.segment) this.#damage = damage;
  }
  /** Why the records from `fromSequence` on cannot be read; undefined when they stand behind any damage. */
  damageAt(fromSequence: number): HeadraceError | undefined {
    const damage = this.#damage;
    if (!damage) return undefined;
    const behind = this.#runs.find((run) => segmentOf(run) > damage.segment);
    return fromSequence < (behind ? firstOf(behind) : this.endSequence) ? damage.error : undefined;
  }

  /** Memory that the index of this channel takes. */
  get byteLength(): number {
    return this.#runs.reduce(
      (bytes, run) => bytes + runBytes + (run.kind === "segment" ? run.places.byteLength : 0),
      runBytes,
    );
  }

  /** Adds a block that has just become durable in a segment. */
  add(segment: number, offset: number, { sequence, recordCount, byteLength, epoch }: BlockHeader): void {
    const run = this.#runs.at(-1);
    const isOpen = run?.kind === "segment" && run.number === segment;
    if (!isOpen || !run.places.add(sequence, recordCount, offset, byteLength)) {
      const places = new PackedPlaces(sequence);
      places.add(sequence, recordCount, offset, byteLength);
      this.#runs.push({ kind: "segment", number: segment, places });
    }
    this.endSequence = sequence + recordCount;
    if (epoch > this.epoch) this.epoch = epoch;
  }

  /** Puts history runs where a segment's stood. */
  replaceSegment(segment: number, runs: readonly HistoryRun[]): void {
    const isReplaced = (run: SegmentRun | HistoryRun): boolean => run.kind === "segment" && run.number === segment;
    const at = this.#runs.findIndex(isReplaced);
    if (at < 0) return;
    const behind = this.#runs.slice(at).filter((run) => !isReplaced(run));
    this.#runs.splice(at, this.#runs.length - at, ...runs, ...behind);
  }
  /** Adds a history run at the start, before any segment is read. */
  addHistory(run: HistoryRun): void {
    this.#runs.push(run);
    this.endSequence = Math.max(this.endSequence, run.endSequence);
  }
  dropHistory(paths: ReadonlySet<string>): void {
    this.#runs = this.#runs.filter((run) => run.kind !== "history" || !paths.has(run.path));
  }

  /** The blocks from the one that holds `fromSequence`, oldest first, until `maxBytes` are reached; one at least. */
  find(fromSequence: number, maxBytes: number, footerOf: (path: string) => HistoryFooter): Found[] {
    const found: Found[] = [];
    let bytes = 0;
    const runs = this.#runs;
    for (let at = firstIndex(runs.length, (index) => endOf(runs[index]) > fromSequence); at < runs.length; at++) {
      const run = runs[at];
      for (const one of run.kind === "segment"
        ? inSegment(run, fromSequence)
        : inHistory(run, fromSequence, footerOf)) {
        const length = one.kind === "segment" ? one.place.byteLength : one.entry.rawBytes;
        if (found.length > 0 && bytes + length > maxBytes) return found;
        found.push(one);
        bytes += length;
      }
    }
    return found;
  }
}

/** The segment that a history file was made of, by its path. */
export const segmentOfHistory = (path: string): number => Number(path.slice(path.lastIndexOf("/") + 1).slice(0, 12));
const segmentOf = (run: SegmentRun | HistoryRun): number =>
  run.kind === "segment" ? run.number : segmentOfHistory(run.path);
const firstOf = (run: SegmentRun | HistoryRun): number =>
  run.kind === "segment" ? run.places.firstSequence : run.firstSequence;
const endOf = (run: SegmentRun | HistoryRun): number =>
  run.kind === "segment" ? run.places.endSequence : run.endSequence;

function* inSegment({ number, places }: SegmentRun, fromSequence: number): Generator<Found> {
  for (let at = places.indexOf(fromSequence); at < places.count; at++)
    yield { kind: "segment", number, place: places.at(at) };
}

function* inHistory(
  { path, fromEntry, toEntry }: HistoryRun,
  fromSequence: number,
  footerOf: (path: string) => HistoryFooter,
): Generator<Found> {
  const footer = footerOf(path);
  const skipped = firstIndex(toEntry - fromEntry, (index) => footer.endSequence(fromEntry + index) > fromSequence);
  for (let at = fromEntry + skipped; at < toEntry; at++) yield { kind: "history", path, entry: footer.entry(at) };
}
