/**
 * A snapshot made of the one before and the journal behind it: the task that wrote the journal goes on meanwhile, in another thread, and
 * knows nothing of it. Memory is what the journal changed; the base passes through block by block.
 *
 * Order is part of the result: keys from the least recently touched on, timers in the order of their setting.
 */

import type { Checksum } from "../block/crc32c.ts";
import { type BlockHeader, blockKind, packBlock, readBlockHeader } from "../block/header.ts";
import {
  type CommitMeta,
  commitSection,
  decodeCommit,
  encodeMeta,
  encodePositions,
  encodeState,
  encodeTimers,
  encodeTouched,
  type StateChange,
  stateChangeBytes,
  type TimerChange,
  timerChangeBytes,
} from "./commit-format.ts";
import { Positions } from "./positions.ts";
import { Timers } from "./timers.ts";

/** State and times of a block; together with the headers they stay below the block limit. */
const stateBytesMax = 384 * 1024;
const touchedRunsMax = 6144;
const timerBytesMax = 384 * 1024;

/** What a finished snapshot holds. */
export interface SnapshotContent {
  readonly keys: number;
  /** Bytes of keys and values as they are stored. */
  readonly stateBytes: number;
  readonly blocks: number;
}

export class Compaction {
  /** What the journal made of each key, from the one changed first to the one changed last. */
  readonly #changed = new Map<string, StateChange>();
  readonly #timers: TimerChange[] = [];
  readonly #positions = new Positions();
  #meta: CommitMeta | undefined;
  #last: BlockHeader | undefined;
  #keys = 0;
  #stateBytes = 0;
  #blocks = 0;

  /** Takes the next block of the journal behind the base. */
  add(block: Uint8Array): void {
    const { header, state, timers, positions, meta } = decodeCommit(block);
    for (const change of state) {
      // A key that changes again moves to the end.
      this.#changed.delete(change.key);
      this.#changed.set(change.key, change);
    }
    for (const change of timers) this.#timers.push(change);
    this.#positions.restore(positions);
    if (meta.timeMs > 0) this.#meta = meta;
    this.#last = header;
  }

  /** Header of the last block that was added. */
  get last(): BlockHeader | undefined {
    return this.#last;
  }

  /** What {@link fold} has put out so far. */
  get content(): SnapshotContent {
    return { keys: this.#keys, stateBytes: this.#stateBytes, blocks: this.#blocks };
  }

  /** The blocks of the new snapshot, as of the last block that was added. @param base the blocks of the one before */
  *fold(base: Iterable<Uint8Array>, checksum: Checksum): Generator<Uint8Array> {
    const timers = new Timers();
    const positions = new Positions();
    let meta: CommitMeta | undefined;
    let header = this.#last;
    const pack = (sections: { type: number; bytes: Uint8Array }[]): Uint8Array => {
      if (!header) throw new Error("a snapshot without base and journal is asked for");
      this.#blocks++;
      const { logId, writer, epoch, sequence, recordCount } = this.#last ?? header;
      const timeMs = this.#meta?.timeMs ?? meta?.timeMs ?? header.latestMs;
      const place = { logId, writer, epoch, sequence: sequence + recordCount - 1, recordCount: 1 };
      return packBlock(
        { ...place, earliestMs: timeMs, latestMs: timeMs, kind: blockKind.snapshot },
        sections,
        checksum,
      );
    };
    const open = new OpenState();
    const seal = (): Uint8Array => pack(open.take());
    const count = (change: StateChange): StateChange => {
      this.#keys++;
      this.#stateBytes += change.key.length + (change.bytes?.byteLength ?? 0);
      return change;
    };
    for (const block of base) {
      const commit = decodeCommit(block);
      header ??= readBlockHeader(block);
      for (const { key, name, dueMs } of commit.timers) if (dueMs !== undefined) timers.set(key, name, dueMs);
      positions.restore(commit.positions);
      if (commit.meta.timeMs > 0) meta = commit.meta;
      for (const change of commit.state) {
        if (!change.bytes || this.#changed.has(change.key)) continue;
        if (!open.hasRoom(change)) yield seal();
        open.put(count(change));
      }
    }
    for (const change of this.#changed.values()) {
      if (!change.bytes) continue;
      if (!open.hasRoom(change)) yield seal();
      open.put(count(change));
    }
    if (open.size > 0) yield seal();
    for (const { key, name, dueMs } of this.#timers) {
      if (dueMs === undefined) timers.remove(key, name);
      else timers.set(key, name, dueMs);
    }
    for (const part of timerSlices(timers)) yield pack([{ type: commitSection.timers, bytes: encodeTimers(part) }]);
    positions.restore(this.#positions.all());
    const counters = this.#meta ?? meta;
    if (!counters) throw new Error("neither base nor journal has counters");
    // Last, and alone: a snapshot without its end is not taken for a whole one.
    yield pack([
      { type: commitSection.positions, bytes: encodePositions(positions.all()) },
      { type: commitSection.meta, bytes: encodeMeta(counters) },
    ]);
  }
}

/** The keys of the block under way, with their times. */
class OpenState {
  #changes: StateChange[] = [];
  #runs: [number, number][] = [];
  #bytes = 0;

  get size(): number {
    return this.#changes.length;
  }

  hasRoom(change: StateChange): boolean {
    if (this.#changes.length === 0) return true;
    return this.#bytes + stateChangeBytes(change) <= stateBytesMax && this.#runs.length < touchedRunsMax;
  }

  put(change: StateChange): void {
    const timeMs = change.touchedMs ?? 0;
    const run = this.#runs.at(-1);
    if (run?.[0] === timeMs) run[1]++;
    else this.#runs.push([timeMs, 1]);
    this.#changes.push(change);
    this.#bytes += stateChangeBytes(change);
  }

  take(): { type: number; bytes: Uint8Array }[] {
    const sections = [
      { type: commitSection.touched, bytes: encodeTouched(this.#runs) },
      { type: commitSection.state, bytes: encodeState(this.#changes) },
    ];
    this.#changes = [];
    this.#runs = [];
    this.#bytes = 0;
    return sections;
  }
}

function* timerSlices(timers: Timers): Generator<TimerChange[]> {
  let open: TimerChange[] = [];
  let bytes = 0;
  for (const timer of timers.all()) {
    open.push(timer);
    bytes += timerChangeBytes(timer);
    if (bytes < timerBytesMax) continue;
    yield open;
    open = [];
    bytes = 0;
  }
  if (open.length > 0) yield open;
}
