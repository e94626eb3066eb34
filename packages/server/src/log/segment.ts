/**
 * Segment files of the write-ahead log: `wal/<number>.wal`, fixed size, zeros ahead of use (a durable write into
 * allocated zeros takes half the time of one that grows the file). Header, 64 bytes:
 *
 *   0 u32 magic "HRW1"   8 u64 segment number    24 u32 hash of the frame before   32 u32 CRC32C of bytes 0-31
 *   4 u16 version       16 u64 first group       28 u32 salt of the frames' checksums
 *
 * A file whose header is zeros was prepared and not used yet.
 */
import { dirname, join } from "node:path";
import { type Files, getUint53, setUint53, viewOf } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { checksum } from "./checksum.ts";
import { nodeFiles } from "./node-files.ts";
import { PacedWriter } from "./paced-writer.ts";

const segmentMagic = 0x31575248;
export const segmentHeaderBytes = 64;
/** Default size of a segment. Small enough to be rewritten in half a second, large enough that rolling is rare. */
export const segmentBytesDefault = 64 * 1024 * 1024;

export interface SegmentHeader {
  number: number;
  firstGroup: number;
  previousHash: number;
  /** Random; where the checksums of this segment's frames start. */
  salt: number;
}

export const segmentFile = (folder: string, number: number): string =>
  join(folder, `${String(number).padStart(12, "0")}.wal`);

/** Numbers of the segment files in `folder`, ascending. */
export const listSegments = (folder: string, files: Files = nodeFiles): number[] =>
  files
    .list(folder)
    .filter((name) => /^\d{12}\.wal$/.test(name))
    .map((name) => Number(name.slice(0, 12)))
    .sort((a, b) => a - b);

export const encodeSegmentHeader = (segment: SegmentHeader): Uint8Array => {
  const bytes = new Uint8Array(segmentHeaderBytes);
  const view = viewOf(bytes);
  view.setUint32(0, segmentMagic, true);
  view.setUint16(4, 1, true);
  setUint53(view, 8, segment.number);
  setUint53(view, 16, segment.firstGroup);
  view.setUint32(24, segment.previousHash, true);
  view.setUint32(28, segment.salt, true);
  view.setUint32(32, checksum(bytes.subarray(0, 32)), true);
  return bytes;
};

/** `empty`: prepared and unused. `damaged`: neither zeros nor a valid header. */
export const decodeSegmentHeader = (bytes: Uint8Array): SegmentHeader | "empty" | "damaged" => {
  const head = bytes.subarray(0, segmentHeaderBytes);
  if (head.every((byte) => byte === 0)) return "empty";
  if (head.byteLength < segmentHeaderBytes) return "damaged";
  const view = viewOf(head);
  if (view.getUint32(0, true) !== segmentMagic || view.getUint16(4, true) !== 1) return "damaged";
  if (view.getUint32(32, true) !== checksum(head.subarray(0, 32))) return "damaged";
  return {
    number: getUint53(view, 8),
    firstGroup: getUint53(view, 16),
    previousHash: view.getUint32(24, true),
    salt: view.getUint32(28, true),
  };
};

/** Makes the entries of a folder durable. */
export const syncFolder = (folder: string, files: Files = nodeFiles): void => {
  const descriptor = files.open(folder, "r");
  try {
    files.fsync(descriptor);
  } finally {
    files.close(descriptor);
  }
};

/** As {@link syncFolder}, where the folder may be read; one that may not was made by somebody else. */
export const syncNames = (folder: string, files: Files): void => {
  try {
    syncFolder(folder, files);
  } catch (error) {
    if (!["EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
};

/** Makes a folder whose name survives a power cut, with those above it: what is durable in a folder that is lost is lost. */
export const makeDurableFolder = (folder: string, files: Files = nodeFiles): void => {
  if (files.exists(folder)) return;
  makeDurableFolder(dirname(folder), files);
  files.makeFolder(folder);
  syncFolder(dirname(folder), files);
};

/**
 * Makes a durable segment of zeros. It gets its final name only when it is whole, and never in place of a file that has the name already:
 * the log makes a segment by itself when it cannot wait.
 */
export const prepareSegment = (folder: string, number: number, segmentBytes: number, files: Files): void => {
  const temporary = `${segmentFile(folder, number)}.tmp`;
  // Zeros must not take the room that messages need: on a disk that is nearly full the log makes its segments as it fills them.
  if (files.freeBytes(folder) < 2 * segmentBytes)
    throw new HeadraceError("HR_DISK_FULL", `${folder} has less room than two segments`);
  const descriptor = files.open(temporary, "w");
  try {
    const zeros = new Uint8Array(Math.min(segmentBytes, 1024 * 1024));
    const writer = new PacedWriter(files, descriptor);
    for (let at = 0; at < segmentBytes; at += zeros.byteLength)
      writer.write(zeros.subarray(0, Math.min(zeros.byteLength, segmentBytes - at)), at);
    writer.sync();
  } catch (error) {
    files.remove(temporary);
    throw error;
  } finally {
    files.close(descriptor);
  }
  try {
    files.link(temporary, segmentFile(folder, number));
  } finally {
    files.remove(temporary);
  }
  syncFolder(folder, files);
};
