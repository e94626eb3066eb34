/**
 * Start of the write-ahead log: walks every segment frame by frame, checks numbers, hashes and checksums, and says where writing goes on.
 * Only the last frame may be torn, and only if no valid frame follows it; anything else is corruption and stops the start (P6).
 */
import { type BlockHeader, type Files, readBlockHeader } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { decodeFrameHeader, frameHeaderBytes, frameMagic, hashOfFrame, nextFrame, verifyFrame } from "./frame.ts";
import { nodeFiles } from "./node-files.ts";
import { decodeSegmentHeader, listSegments, segmentFile, segmentHeaderBytes } from "./segment.ts";
import type { TailPart, WalEnd } from "./wal.ts";

export interface Recovered {
  readonly end: WalEnd;
  /** Full segments that wait for their rewriting into history, ascending. */
  readonly sealed: number[];
  /** Segments that are prepared and unused. */
  readonly prepared: number[];
  /** Bytes cut from a torn tail, with the place; undefined when the log ended cleanly. */
  readonly cut?: { readonly segment: number; readonly offset: number };
  /** Header and last frame of the open segment as they were read: the only bytes of which nobody knows whether they are on disk. */
  readonly tail: readonly TailPart[];
}

/** What recovery tells of damage, beside its words. */
export interface WalDamage {
  readonly segment: number;
  readonly offset: number;
  /** Everything up to this segment must be salvaged before the log can be opened again. */
  readonly through: number;
}

const damaged = (message: string, segment: number, offset: number, through = segment): HeadraceError =>
  new HeadraceError("HR_BLOCK_CORRUPT", `write-ahead segment ${segment} is damaged at byte ${offset}: ${message}`, {
    data: { segment, offset, through } satisfies WalDamage,
  });

/**
 * @param after the last segment that history covers; older files are ignored
 * @param visit called for every block in order of writing
 */
export const recoverWal = (
  folder: string,
  after: number,
  visit: (segment: number, offset: number, header: BlockHeader, block: Uint8Array) => void,
  files: Files = nodeFiles,
): Recovered => {
  const numbers = listSegments(folder, files).filter((number) => number > after);
  const used: number[] = [];
  const prepared: number[] = [];
  let end: WalEnd | undefined;
  let cut: Recovered["cut"];
  let tail: readonly TailPart[] = [];
  for (const [index, number] of numbers.entries()) {
    const bytes = files.readFile(segmentFile(folder, number));
    const head = decodeSegmentHeader(bytes);
    if (
      head === "empty" ||
      (head === "damaged" && !numbers.slice(index + 1).some((later) => isUsed(files, folder, later)))
    ) {
      // Prepared, or torn while it was being opened: nothing was acknowledged from it.
      const frames = framesIn(bytes);
      if (frames > 1) throw damaged("the segment header, with groups behind it", number, 0);
      if (frames > 0 || head === "damaged") cut = { segment: number, offset: 0 };
      prepared.push(number);
      continue;
    }
    if (head === "damaged") throw damaged("the segment header", number, 0);
    if (head.number !== number) throw damaged(`it says that it is segment ${head.number}`, number, 0);
    if (prepared.length > 0) throw damaged(`segment ${prepared[0]} before it is empty`, number, 0, number - 1);
    const before = end?.segment ?? after;
    if (before !== number - 1) throw damaged(`segment ${before + 1} is missing`, number, 0, number - 1);
    if (end && (head.firstGroup !== end.groupNumber || head.previousHash !== end.previousHash)) {
      if (cut) throw damaged("the log goes on in the next segment behind a torn frame", cut.segment, cut.offset);
      throw damaged(`it starts at group ${head.firstGroup}, expected ${end.groupNumber}`, number, 0, number - 1);
    }
    used.push(number);
    ({ end, cut, tail } = walkSegment(
      bytes,
      {
        segment: number,
        offset: segmentHeaderBytes,
        groupNumber: head.firstGroup,
        previousHash: head.previousHash,
        salt: head.salt,
      },
      visit,
    ));
  }
  // A segment is rewritten once the next one is there: that one cannot be missing, used or not.
  if (!end && after > 0 && !numbers.includes(after + 1)) throw damaged("it is missing", after + 1, 0);
  const last = end ?? { segment: prepared[0] ?? after + 1, offset: 0, groupNumber: 1, previousHash: 0, salt: 0 };
  return { end: last, sealed: used.slice(0, -1), prepared, cut, tail };
};

/**
 * Groups behind a header that cannot be read, up to two: the second is written only when the first is durable, and the header with it. Two are known by
 * the second's hash of the first: without the salt of the header there are no checksums, and what was lost or put in may have moved them.
 */
export const framesIn = (bytes: Uint8Array): number => {
  let frames = 0;
  for (const at of magicsIn(bytes, 0)) {
    const first = decodeFrameHeader(bytes, at);
    if (!first) continue;
    frames = 1;
    const second = decodeFrameHeader(bytes, at + first.byteLength);
    if (second?.groupNumber === first.groupNumber + 1 && second.previousHash === hashOfFrame(bytes, at)) return 2;
  }
  return frames;
};

/** Where frames may start: nearly every frame starts at a multiple of 8, but not behind bytes that were lost or put in. */
export function* magicsIn(bytes: Uint8Array, start: number): Generator<number> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(frameMagic);
  for (let at = buffer.indexOf(magic, start); at >= 0; at = buffer.indexOf(magic, at + 4)) yield at;
}

const isUsed = (files: Files, folder: string, number: number): boolean =>
  typeof decodeSegmentHeader(files.readFile(segmentFile(folder, number))) === "object";

const walkSegment = (
  bytes: Uint8Array,
  start: WalEnd,
  visit: (segment: number, offset: number, header: BlockHeader, block: Uint8Array) => void,
): { end: WalEnd; cut: Recovered["cut"]; tail: TailPart[] } => {
  let end = start;
  let last = start.offset;
  for (;;) {
    const at = end.offset;
    const frame = nextFrame(bytes, end);
    if (!frame) {
      if (hasLaterFrame(bytes, at, end.groupNumber, end.salt))
        throw damaged("a frame fails its checks and valid frames follow", end.segment, at);
      const torn = !isZero(bytes, at, Math.min(bytes.byteLength, at + frameHeaderBytes));
      return {
        end,
        cut: torn ? { segment: end.segment, offset: at } : undefined,
        tail: [
          { offset: 0, bytes: bytes.subarray(0, segmentHeaderBytes) },
          { offset: last, bytes: bytes.subarray(last, at) },
        ],
      };
    }
    last = at;
    let blockAt = at + frameHeaderBytes;
    for (let index = 0; index < frame.blockCount; index++) {
      const block = bytes.subarray(blockAt, at + frame.byteLength);
      const header = readBlockHeader(block);
      visit(end.segment, blockAt, header, block.subarray(0, header.byteLength));
      blockAt += header.byteLength;
    }
    end = {
      ...end,
      offset: at + frame.byteLength,
      groupNumber: end.groupNumber + 1,
      previousHash: hashOfFrame(bytes, at),
    };
  }
};

const isZero = (bytes: Uint8Array, start: number, end: number): boolean => {
  for (let at = start; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
};

/**
 * True if a frame that is whole and newer than `groupNumber` stands behind `start`. Frames start at multiples of 8, unless bytes were lost or put in before
 * them: those are looked for as well.
 */
export const hasLaterFrame = (bytes: Uint8Array, start: number, groupNumber: number, salt: number): boolean => {
  for (const at of magicsIn(bytes, start + 1)) {
    const frame = decodeFrameHeader(bytes, at);
    if (frame && frame.groupNumber > groupNumber && verifyFrame(bytes, at, frame, salt)) return true;
  }
  return false;
};
