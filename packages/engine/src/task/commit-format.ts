/**
 * The commit, version 1: sections of a journal block (kind commit), and of a snapshot block with every key in place of the changed ones.
 * A commit beyond the block limit is several journal blocks of one atomic group, each complete in itself.
 *
 *   1 POSITIONS  per channel: u32 log, u32 writer, u64 low, u32 runs, then u64 start, u64 end each
 *   2 STATE      per key: u16 key bytes, u8 1 set / 0 removed, u8 0, u32 value bytes, key, value
 *   3 TIMERS     per timer: u16 key bytes, u16 name bytes, u8 1 set / 0 removed, 3 × u8 0, u64 due ms, key, name
 *   4 META       u64 commit time ms, u64 events done so far, u64 next timer ms (0: none), u64 events failed so far
 *   5 TOUCHED    snapshots only, per run of the keys in the block's STATE: u64 time of their commit ms, u32 keys, u32 0
 */
import {
  type BlockHeader,
  corrupt,
  getUint53,
  readBlockHeader,
  readSections,
  setUint53,
  viewOf,
} from "../block/header.ts";
import { writeUtf8 } from "../block/utf8.ts";
import type { ChannelPosition } from "./positions.ts";

export const commitSection = { positions: 1, state: 2, timers: 3, meta: 4, touched: 5 } as const;

export interface StateChange {
  readonly key: string;
  /** Undefined: the key is removed. */
  readonly bytes: Uint8Array | undefined;
  /** Time of the commit that changed it last, ms; for what is read. */
  readonly touchedMs?: number;
}
export interface TimerChange {
  readonly key: string;
  readonly name: string;
  /** Undefined: the timer is removed. */
  readonly dueMs: number | undefined;
}
export interface CommitMeta {
  readonly timeMs: number;
  readonly processed: number;
  readonly nextTimerMs: number;
  readonly failed: number;
}
export interface Commit {
  readonly header: BlockHeader;
  readonly positions: ChannelPosition[];
  readonly state: StateChange[];
  readonly timers: TimerChange[];
  readonly meta: CommitMeta;
}

const decoder = new TextDecoder();

export const encodePositions = (positions: readonly ChannelPosition[]): Uint8Array => {
  let byteLength = 0;
  for (const position of positions) byteLength += 20 + position.runs.length * 16;
  const bytes = new Uint8Array(byteLength);
  const view = viewOf(bytes);
  let at = 0;
  for (const position of positions) {
    view.setUint32(at, position.logId, true);
    view.setUint32(at + 4, position.writer, true);
    setUint53(view, at + 8, position.low);
    view.setUint32(at + 16, position.runs.length, true);
    at += 20;
    for (const [start, end] of position.runs) {
      setUint53(view, at, start);
      setUint53(view, at + 8, end);
      at += 16;
    }
  }
  return bytes;
};

/** Bytes that one state change takes in a STATE section, at most. */
export const stateChangeBytes = (change: StateChange): number =>
  8 + change.key.length * 3 + (change.bytes?.byteLength ?? 0);

/** Bytes that one timer change takes in a TIMERS section, at most. */
export const timerChangeBytes = (change: TimerChange): number => 16 + (change.key.length + change.name.length) * 3;

/** Scratch for the sections that are made of many short texts. */
let scratch = new Uint8Array(4096);

export const encodeState = (changes: readonly StateChange[]): Uint8Array => {
  let bytesMax = 0;
  for (const change of changes) bytesMax += stateChangeBytes(change);
  if (bytesMax > scratch.byteLength) scratch = new Uint8Array(bytesMax * 2);
  const view = viewOf(scratch);
  let at = 0;
  for (const { key, bytes } of changes) {
    const keyEnd = writeUtf8(scratch, at + 8, key);
    view.setUint16(at, keyEnd - at - 8, true);
    view.setUint16(at + 2, bytes ? 1 : 0, true);
    view.setUint32(at + 4, bytes?.byteLength ?? 0, true);
    at = keyEnd;
    if (bytes) {
      scratch.set(bytes, at);
      at += bytes.byteLength;
    }
  }
  return scratch.slice(0, at);
};

export const encodeTimers = (changes: readonly TimerChange[]): Uint8Array => {
  let bytesMax = 0;
  for (const change of changes) bytesMax += timerChangeBytes(change);
  if (bytesMax > scratch.byteLength) scratch = new Uint8Array(bytesMax * 2);
  const view = viewOf(scratch);
  let at = 0;
  for (const { key, name, dueMs } of changes) {
    const keyEnd = writeUtf8(scratch, at + 16, key);
    const end = writeUtf8(scratch, keyEnd, name);
    view.setUint16(at, keyEnd - at - 16, true);
    view.setUint16(at + 2, end - keyEnd, true);
    view.setUint32(at + 4, dueMs === undefined ? 0 : 1, true);
    setUint53(view, at + 8, dueMs ?? 0);
    at = end;
  }
  return scratch.slice(0, at);
};

export const encodeMeta = (meta: CommitMeta): Uint8Array => {
  const bytes = new Uint8Array(32);
  const view = viewOf(bytes);
  setUint53(view, 0, meta.timeMs);
  setUint53(view, 8, meta.processed);
  setUint53(view, 16, meta.nextTimerMs);
  setUint53(view, 24, meta.failed);
  return bytes;
};

const decodePositions = (bytes: Uint8Array): ChannelPosition[] => {
  const view = viewOf(bytes);
  const positions: ChannelPosition[] = [];
  const cut = (): Error => corrupt("the positions of a commit are cut");
  for (let at = 0; at < bytes.byteLength; ) {
    if (at + 20 > bytes.byteLength) throw cut();
    const position: ChannelPosition = {
      logId: view.getUint32(at, true),
      writer: view.getUint32(at + 4, true),
      low: getUint53(view, at + 8),
      runs: [],
    };
    const count = view.getUint32(at + 16, true);
    at += 20;
    if (at + count * 16 > bytes.byteLength) throw cut();
    for (let run = 0; run < count; run++, at += 16) position.runs.push([getUint53(view, at), getUint53(view, at + 8)]);
    positions.push(position);
  }
  return positions;
};

/** Decodes short text without a call into the platform while it is ASCII: keys are, nearly always. */
const shortText = (bytes: Uint8Array, start: number, end: number): string => {
  if (end - start > 48) return decoder.decode(bytes.subarray(start, end));
  let text = "";
  for (let at = start; at < end; at++) {
    if (bytes[at] >= 0x80) return decoder.decode(bytes.subarray(start, end));
    text += String.fromCharCode(bytes[at]);
  }
  return text;
};

const decodeState = (bytes: Uint8Array, changes: StateChange[], touchedMs: () => number): void => {
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.byteLength; ) {
    if (at + 8 > bytes.byteLength) throw corrupt("the state of a commit is cut");
    const keyEnd = at + 8 + view.getUint16(at, true);
    const end = keyEnd + view.getUint32(at + 4, true);
    if (end > bytes.byteLength) throw corrupt("the state of a commit is cut");
    changes.push({
      key: shortText(bytes, at + 8, keyEnd),
      // A view: a million keys are a million buffers less to allocate at a recovery, and the blocks are dense.
      bytes: view.getUint8(at + 2) === 1 ? bytes.subarray(keyEnd, end) : undefined,
      touchedMs: touchedMs(),
    });
    at = end;
  }
};

/** Runs of a TOUCHED section as a function that gives one key's time after the other. */
const touchedRuns = (bytes: Uint8Array): (() => number) => {
  const view = viewOf(bytes);
  if (bytes.byteLength % 16 !== 0) throw corrupt("the times of a snapshot are cut");
  let at = 0;
  let left = 0;
  let timeMs = 0;
  return () => {
    while (left === 0) {
      if (at >= bytes.byteLength) throw corrupt("a snapshot has more keys than times");
      timeMs = getUint53(view, at);
      left = view.getUint32(at + 8, true);
      at += 16;
    }
    left--;
    return timeMs;
  };
};

/** Times of keys in the order of a STATE section. */
export const encodeTouched = (runs: readonly (readonly [timeMs: number, keys: number])[]): Uint8Array => {
  const bytes = new Uint8Array(runs.length * 16);
  const view = viewOf(bytes);
  for (const [index, [timeMs, keys]] of runs.entries()) {
    setUint53(view, index * 16, timeMs);
    view.setUint32(index * 16 + 8, keys, true);
  }
  return bytes;
};

const decodeTimers = (bytes: Uint8Array, changes: TimerChange[]): void => {
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.byteLength; ) {
    if (at + 16 > bytes.byteLength) throw corrupt("the timers of a commit are cut");
    const keyEnd = at + 16 + view.getUint16(at, true);
    const end = keyEnd + view.getUint16(at + 2, true);
    if (end > bytes.byteLength) throw corrupt("the timers of a commit are cut");
    changes.push({
      key: decoder.decode(bytes.subarray(at + 16, keyEnd)),
      name: decoder.decode(bytes.subarray(keyEnd, end)),
      dueMs: view.getUint8(at + 4) === 1 ? getUint53(view, at + 8) : undefined,
    });
    at = end;
  }
};

/** Reads a commit or snapshot block, whose bytes the values go on to share; it may have several sections of states and of timers. */
export const decodeCommit = (block: Uint8Array): Commit => {
  const header = readBlockHeader(block);
  let positions: ChannelPosition[] = [];
  const state: StateChange[] = [];
  const timers: TimerChange[] = [];
  let meta: CommitMeta = { timeMs: 0, processed: 0, nextTimerMs: 0, failed: 0 };
  // A commit of several blocks has its time in the header of each.
  let touchedMs = (): number => header.latestMs;
  for (const section of readSections(block, header)) {
    const bytes = block.subarray(section.start, section.end);
    if (section.type === commitSection.positions) positions = decodePositions(bytes);
    else if (section.type === commitSection.touched) touchedMs = touchedRuns(bytes);
    else if (section.type === commitSection.state) decodeState(bytes, state, touchedMs);
    else if (section.type === commitSection.timers) decodeTimers(bytes, timers);
    else if (section.type === commitSection.meta) {
      if (bytes.byteLength < 32) throw corrupt("the counters of a commit are cut");
      const view = viewOf(bytes);
      meta = {
        timeMs: getUint53(view, 0),
        processed: getUint53(view, 8),
        nextTimerMs: getUint53(view, 16),
        failed: getUint53(view, 24),
      };
    }
  }
  return { header, positions, state, timers, meta };
};
