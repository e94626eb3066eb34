/**
 * Copies a log while its node writes it. History files never change once they are listed, and of the segments exactly the groups are taken
 * that are whole, in their order: what was durable when the copy began is in it, and it ends at a group.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { HeadraceError } from "@headrace/sdk";
import type { Survey } from "./findings.ts";
import { decodeFrameHeader, hashOfFrame, verifyFrame } from "./frame.ts";
import { manifestFile, readManifest } from "./history-manifest.ts";
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

/** Where the whole groups of a segment end, and what the next segment must say about them. */
const soundEnd = (bytes: Uint8Array): { offset: number; groupNumber: number; hash: number } | undefined => {
  const head = decodeSegmentHeader(bytes);
  if (typeof head !== "object") return undefined;
  let [offset, groupNumber, hash] = [segmentHeaderBytes, head.firstGroup, head.previousHash];
  for (let frame = decodeFrameHeader(bytes, offset); frame; frame = decodeFrameHeader(bytes, offset)) {
    if (frame.groupNumber !== groupNumber || frame.previousHash !== hash) break;
    if (!verifyFrame(bytes, offset, frame, head.salt)) break;
    hash = hashOfFrame(bytes, offset);
    offset += frame.byteLength;
    groupNumber++;
  }
  return { offset, groupNumber, hash };
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
  let before: ReturnType<typeof soundEnd>;
  for (const number of numbers) {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(segmentFile(fromFolder, number));
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
    const head = decodeSegmentHeader(bytes);
    if (typeof head !== "object") break;
    // Written after the segment before it was read: its beginning is not in the copy.
    if (before && (head.firstGroup !== before.groupNumber || head.previousHash !== before.hash)) break;
    before = soundEnd(bytes);
    const end = before?.offset ?? 0;
    survey.expect(segmentFile(fromFolder, number));
    writeDurably(segmentFile(toFolder, number), bytes.subarray(0, end));
    survey.read(bytes.byteLength);
  }
  return true;
};

/**
 * Copies the log of a data folder into `to`, whether a node runs on it or not. What was acknowledged before the call is in the copy.
 *
 * @throws HR_UNAVAILABLE when the log changes faster than it can be copied
 */
export const copyLog = (from: string, to: string, survey: Survey): void => {
  for (let attempt = 0; attempt < attemptsMax; attempt++)
    if (copySegments(from, to, copyHistory(from, to, survey), survey)) return;
  throw new HeadraceError("HR_UNAVAILABLE", "the log changes faster than it can be copied");
};
