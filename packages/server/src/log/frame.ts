/**
 * The group frame: the unit of writing and of recovery (ADR 0001). Little endian, 48 bytes, then the blocks back to back:
 *
 *   0 u32 magic "HRG1"     12 u32 CRC32C of all behind it   28 u32 block count
 *   4 u16 format version   16 u64 group number              32 u32 flags (1: idle marker)
 *   6 u16 header bytes     24 u32 CRC32C of the previous    36 u32 0
 *   8 u32 frame bytes             frame's header            40 u64 wall clock, ms
 *
 * A group is written only when the one before is durable, so at most the last frame can be torn. The checksum starts from
 * the segment's random salt, so that no payload can pass for a frame behind a torn one.
 */
import { getUint53, setUint53, viewOf } from "@headrace/engine";
import { checksum } from "./checksum.ts";

export const frameMagic = 0x31475248;
export const frameHeaderBytes = 48;
const formatVersion = 1;
export const frameFlag = { marker: 1 } as const;

export interface FrameHeader {
  groupNumber: number;
  byteLength: number;
  previousHash: number;
  blockCount: number;
  flags: number;
  timeMs: number;
  crc: number;
}

/** Makes the header for `blocks`; returns it with the hash that the next frame must carry. */
export const encodeFrameHeader = (
  frame: { groupNumber: number; previousHash: number; flags: number; timeMs: number; salt: number },
  blocks: readonly Uint8Array[],
): { header: Uint8Array; hash: number; byteLength: number } => {
  let byteLength = frameHeaderBytes;
  for (const block of blocks) byteLength += block.byteLength;
  const header = new Uint8Array(frameHeaderBytes);
  const view = viewOf(header);
  view.setUint32(0, frameMagic, true);
  view.setUint16(4, formatVersion, true);
  view.setUint16(6, frameHeaderBytes, true);
  view.setUint32(8, byteLength, true);
  setUint53(view, 16, frame.groupNumber);
  view.setUint32(24, frame.previousHash, true);
  view.setUint32(28, blocks.length, true);
  view.setUint32(32, frame.flags, true);
  setUint53(view, 40, frame.timeMs);
  let crc = checksum(header.subarray(16), frame.salt);
  for (const block of blocks) crc = checksum(block, crc);
  view.setUint32(12, crc, true);
  return { header, hash: checksum(header), byteLength };
};

/** Reads a frame header at `at`; undefined where none can be (zeros, cut, impossible length). */
export const decodeFrameHeader = (bytes: Uint8Array, at: number): FrameHeader | undefined => {
  if (at + frameHeaderBytes > bytes.byteLength) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(at, true) !== frameMagic || view.getUint16(at + 4, true) !== formatVersion) return undefined;
  if (view.getUint16(at + 6, true) !== frameHeaderBytes) return undefined;
  const byteLength = view.getUint32(at + 8, true);
  if (byteLength < frameHeaderBytes || at + byteLength > bytes.byteLength) return undefined;
  return {
    byteLength,
    crc: view.getUint32(at + 12, true),
    groupNumber: getUint53(view, at + 16),
    previousHash: view.getUint32(at + 24, true),
    blockCount: view.getUint32(at + 28, true),
    flags: view.getUint32(at + 32, true),
    timeMs: getUint53(view, at + 40),
  };
};

/** True if the frame's bytes match its checksum. */
export const verifyFrame = (bytes: Uint8Array, at: number, frame: FrameHeader, salt: number): boolean =>
  checksum(bytes.subarray(at + 16, at + frame.byteLength), salt) === frame.crc;

/** What must come next in a segment. */
export interface ExpectedFrame {
  readonly offset: number;
  readonly groupNumber: number;
  readonly previousHash: number;
  readonly salt: number;
}

/** The frame that must come next, if it is there, whole and the one. */
export const nextFrame = (bytes: Uint8Array, expected: ExpectedFrame): FrameHeader | undefined => {
  const { offset, groupNumber, previousHash, salt } = expected;
  const frame = decodeFrameHeader(bytes, offset);
  if (frame?.groupNumber !== groupNumber || frame.previousHash !== previousHash) return undefined;
  return verifyFrame(bytes, offset, frame, salt) ? frame : undefined;
};

/** The hash that the frame after the one at `at` must carry. */
export const hashOfFrame = (bytes: Uint8Array, at: number): number =>
  checksum(bytes.subarray(at, at + frameHeaderBytes));
