/**
 * Copies a log while its node writes it. History files never change once they are listed, and of the segments exactly the groups are taken
 * that are whole, in their order: what was durable when the copy began is in it, and it ends at a group.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { corrupt } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import type { Survey } from "./findings.ts";
import { type ExpectedFrame, hashOfFrame, nextFrame } from "./frame.ts";
import { manifestFile, readManifest } from "./history-manifest.ts";
import { framesIn, hasLaterFrame } from "./recovery.ts";
import { decodeSegmentHeader, listSegments, segmentFile, segmentHeaderBytes, syncFolder } from "./segment.ts";

const attemptsMax = 20;

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

/** Writes a new file that survives a power cut. */
export const writeDurably = (file: string, bytes: Uint8Array, mode = 0o640): void => {
  mkdirSync(dirname(file), { recursive: true });
  const descriptor = openSync(file, "w", mode);
  try {
    for (let at = 0; at < bytes.byteLength; ) at += writeSync(descriptor, bytes, at);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  syncFolder(dirname(file));
};

interface SoundSegment {
  readonly bytes: Uint8Array;
  /** Where the whole groups end, and what must come behind them. */
  readonly end: ExpectedFrame;
  readonly firstGroup: number;
  readonly previousHash: number;
  /** A group that is whole stands behind one that is not. */
  readonly hasHole: boolean;
}

/** Undefined for a segment that is not in use: prepared, or torn while it was being opened. */
const readSegment = (file: string): SoundSegment | undefined => {
  const bytes = readFileSync(file);
  const head = decodeSegmentHeader(bytes);
  if (typeof head === "string") {
    if (framesIn(bytes) > 1) throw corrupt(`${file} is damaged at byte 0: the segment header, with groups behind it`);
    return undefined;
  }
  const { firstGroup, previousHash, salt } = head;
  let end: ExpectedFrame = { offset: segmentHeaderBytes, groupNumber: firstGroup, previousHash, salt };
  for (let frame = nextFrame(bytes, end); frame; frame = nextFrame(bytes, end)) {
    const { offset, groupNumber } = end;
    end = {
      offset: offset + frame.byteLength,
      groupNumber: groupNumber + 1,
      previousHash: hashOfFrame(bytes, offset),
      salt,
    };
  }
  return { bytes, end, firstGroup, previousHash, hasHole: hasLaterFrame(bytes, end.offset, end.groupNumber, salt) };
};

/** A file that is read while it is written may show a group before the one that precedes it; read again, it shows both, or it is damaged. */
const readSettledSegment = (file: string): SoundSegment | undefined => {
  let segment = readSegment(file);
  while (segment?.hasHole) {
    const { offset } = segment.end;
    segment = readSegment(file);
    if (segment?.hasHole && segment.end.offset === offset)
      throw corrupt(`${file} is damaged at byte ${offset}: a frame fails its checks and valid frames follow`);
  }
  return segment;
};

const follows = (next: SoundSegment, before: SoundSegment | undefined): boolean =>
  next.firstGroup === before?.end.groupNumber && next.previousHash === before.end.previousHash;

/**
 * A segment that does not follow the one read before it was begun after that: its beginning is not in the copy, and the copy ends before it.
 * Read again, the one before must lead to it; else the log is damaged.
 */
const checkThatItWasBegunSince = (next: SoundSegment, file: string, read: SoundSegment | undefined): void => {
  if (follows(next, readSettledSegment(file))) return;
  throw corrupt(`${file} is damaged at byte ${read?.end.offset ?? 0}: the log goes on behind it`);
};

/** Copies history until the segments that it does not cover are all there. */
const copyHistory = (from: string, to: string, survey: Survey): number => {
  const [fromFolder, toFolder] = [join(from, "history"), join(to, "history")];
  mkdirSync(toFolder, { recursive: true });
  if (!existsSync(manifestFile(fromFolder))) return 0;
  const copied = new Set<string>();
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const bytes = readFileSync(manifestFile(fromFolder));
    rmSync(manifestFile(toFolder), { force: true });
    writeDurably(manifestFile(toFolder), bytes);
    const manifest = readManifest(toFolder);
    try {
      for (const path of manifest.files.keys()) {
        if (copied.has(path)) continue;
        survey.expect(join(fromFolder, path));
        const content = readFileSync(join(fromFolder, path));
        writeDurably(join(toFolder, path), content);
        copied.add(path);
        survey.read(content.byteLength);
      }
    } catch (error) {
      // Retention has removed it in between, and said so in the manifest.
      if (!isMissing(error)) throw error;
      continue;
    }
    const gone = [...copied].filter((path) => !manifest.files.has(path));
    for (const path of gone) rmSync(join(toFolder, path), { force: true });
    return manifest.lastSegment;
  }
  throw new HeadraceError("HR_UNAVAILABLE", "the history changes faster than it can be copied");
};

/** Copies the segments behind `after`; false when one was rewritten into history meanwhile. */
const copySegments = (from: string, to: string, after: number, survey: Survey): boolean => {
  const [fromFolder, toFolder] = [join(from, "wal"), join(to, "wal")];
  rmSync(toFolder, { recursive: true, force: true });
  mkdirSync(toFolder, { recursive: true });
  const numbers = listSegments(fromFolder).filter((number) => number > after);
  if (numbers[0] !== undefined && numbers[0] !== after + 1) return false;
  let before: { file: string; segment: SoundSegment | undefined } | undefined;
  for (const number of numbers) {
    const file = segmentFile(fromFolder, number);
    try {
      const segment = readSettledSegment(file);
      if (segment && before && !follows(segment, before.segment)) {
        checkThatItWasBegunSince(segment, before.file, before.segment);
        return true;
      }
      before = { file, segment };
      if (!segment) continue;
      survey.expect(file);
      writeDurably(segmentFile(toFolder, number), segment.bytes.subarray(0, segment.end.offset));
      survey.read(segment.bytes.byteLength);
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }
  return true;
};

/**
 * Copies the log of a data folder into `to`, whether a node runs on it or not. What was acknowledged before the call is in the copy.
 *
 * @throws HR_UNAVAILABLE when the log changes faster than it can be copied, HR_BLOCK_CORRUPT when it is damaged
 */
export const copyLog = (from: string, to: string, survey: Survey): void => {
  for (let attempt = 0; attempt < attemptsMax; attempt++)
    if (copySegments(from, to, copyHistory(from, to, survey), survey)) return;
  throw new HeadraceError("HR_UNAVAILABLE", "the log changes faster than it can be copied");
};
