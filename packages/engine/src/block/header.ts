/**
 * The block header, format version 1, little endian, 64 bytes:
 *
 *   0 u32 magic "HRB1"    16 u32 log id         32 u64 sequence of the first record   56 u8  kind
 *   4 u16 format version  20 u32 writer         40 u64 earliest arrival time, ms      57 u8  flags
 *   6 u16 header bytes    24 u32 epoch          48 u64 latest arrival time, ms        58 u16 sections
 *   8 u32 block bytes     28 u32 record count                                         60 u32 reserved, 0
 *  12 u32 CRC32C of everything behind this field
 *
 * Sections follow: u16 type, u16 flags, u32 length, content, zeros to a multiple of 8.
 * A reader skips section types that it does not know, so a new section needs no new format (ADR 0001).
 */
import { HeadraceError } from "@headrace/sdk";
import type { Checksum } from "./crc32c.ts";

export const blockMagic = 0x31425248;
export const blockFormatVersion = 1;
export const blockHeaderBytes = 64;
/** The largest block, header included, on every driver of the Log port. */
export const blockBytesMax = 512 * 1024;
const sectionHeaderBytes = 8;

/** What a block holds. */
export const blockKind = { events: 1, commit: 2, effects: 3, control: 4, snapshot: 5, gap: 6 } as const;
export type BlockKind = (typeof blockKind)[keyof typeof blockKind];

export interface BlockHeader {
  logId: number;
  writer: number;
  epoch: number;
  /** Sequence of the first record; the next block of the channel starts at `sequence + recordCount`. */
  sequence: number;
  recordCount: number;
  earliestMs: number;
  latestMs: number;
  kind: BlockKind;
  byteLength: number;
  crc: number;
}

const twoTo32 = 4294967296;

/** A DataView over the same bytes. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export const setUint53 = (view: DataView, at: number, value: number): void => {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / twoTo32), true);
};
export const getUint53 = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * twoTo32;

/** Rounds up to a multiple of 8: every section and record starts aligned. */
export const padded = (byteLength: number): number => (byteLength + 7) & ~7;

/** Writes the header over the first 64 bytes of a finished block and seals it with its checksum. */
export const sealBlock = (
  block: Uint8Array,
  header: Omit<BlockHeader, "byteLength" | "crc">,
  checksum: Checksum,
): void => {
  const view = viewOf(block);
  view.setUint32(0, blockMagic, true);
  view.setUint16(4, blockFormatVersion, true);
  view.setUint16(6, blockHeaderBytes, true);
  view.setUint32(8, block.byteLength, true);
  view.setUint32(16, header.logId, true);
  view.setUint32(20, header.writer, true);
  view.setUint32(24, header.epoch, true);
  view.setUint32(28, header.recordCount, true);
  setUint53(view, 32, header.sequence);
  setUint53(view, 40, header.earliestMs);
  setUint53(view, 48, header.latestMs);
  view.setUint8(56, header.kind);
  view.setUint8(57, 0);
  view.setUint16(58, 0, true);
  view.setUint32(60, 0, true);
  view.setUint32(12, checksum(block.subarray(16)), true);
};

/**
 * Reads a block's header. `bytes` may be longer than the block.
 * @throws HR_BLOCK_CORRUPT when magic, version or length are wrong
 */
export const readBlockHeader = (bytes: Uint8Array): BlockHeader => {
  if (bytes.byteLength < blockHeaderBytes) throw corrupt(`a block header needs 64 bytes, ${bytes.byteLength} are left`);
  const view = viewOf(bytes);
  const magic = view.getUint32(0, true);
  if (magic !== blockMagic) throw corrupt(`block magic is 0x${magic.toString(16)}`);
  const version = view.getUint16(4, true);
  if (version !== blockFormatVersion) throw corrupt(`block format version ${version} is unknown to this release`);
  const headerBytes = view.getUint16(6, true);
  if (headerBytes !== blockHeaderBytes) throw corrupt(`a block header of ${headerBytes} bytes is unknown`);
  const byteLength = view.getUint32(8, true);
  if (
    byteLength < blockHeaderBytes ||
    byteLength > blockBytesMax ||
    byteLength > bytes.byteLength ||
    byteLength % 8 !== 0
  ) {
    throw corrupt(`block length ${byteLength} is impossible (${bytes.byteLength} bytes are left)`);
  }
  return {
    logId: view.getUint32(16, true),
    writer: view.getUint32(20, true),
    epoch: view.getUint32(24, true),
    recordCount: view.getUint32(28, true),
    sequence: getUint53(view, 32),
    earliestMs: getUint53(view, 40),
    latestMs: getUint53(view, 48),
    kind: view.getUint8(56) as BlockKind,
    byteLength,
    crc: view.getUint32(12, true),
  };
};

/** True if the block's bytes match its checksum. */
export const verifyBlock = (block: Uint8Array, header: BlockHeader, checksum: Checksum): boolean =>
  checksum(block.subarray(16, header.byteLength)) === header.crc;

/** The error for bytes that cannot be a block. */
export const corrupt = (message: string): HeadraceError => new HeadraceError("HR_BLOCK_CORRUPT", message);

/** One section of a block: type and the range of its content. */
export interface Section {
  readonly type: number;
  readonly start: number;
  readonly end: number;
}

/** Lists the sections of a block in the order they stand. */
export const readSections = (block: Uint8Array, header: BlockHeader): Section[] => {
  const view = viewOf(block);
  const sections: Section[] = [];
  let at = blockHeaderBytes;
  while (at < header.byteLength) {
    if (at + sectionHeaderBytes > header.byteLength) throw corrupt(`a section header is cut at byte ${at}`);
    const length = view.getUint32(at + 4, true);
    const start = at + sectionHeaderBytes;
    if (start + length > header.byteLength) throw corrupt(`the section at byte ${at} is longer than its block`);
    sections.push({ type: view.getUint16(at, true), start, end: start + length });
    at = start + padded(length);
  }
  return sections;
};

/** The bytes of one section's content; undefined when the block has none of that type. */
export const sectionBytes = (block: Uint8Array, sections: readonly Section[], type: number): Uint8Array | undefined => {
  for (const section of sections) if (section.type === type) return block.subarray(section.start, section.end);
  return undefined;
};

/** A whole block of the given sections, sealed. For cold blocks: commits, effects, control. */
export const packBlock = (
  header: Omit<BlockHeader, "byteLength" | "crc">,
  sections: readonly { readonly type: number; readonly bytes: Uint8Array }[],
  checksum: Checksum,
): Uint8Array => {
  let byteLength = blockHeaderBytes;
  for (const section of sections) byteLength += sectionHeaderBytes + padded(section.bytes.byteLength);
  if (byteLength > blockBytesMax) {
    throw new HeadraceError(
      "HR_BLOCK_TOO_LARGE",
      `a block of ${byteLength} bytes exceeds the limit of ${blockBytesMax}`,
      { data: { byteLength } },
    );
  }
  const block = new Uint8Array(byteLength);
  const view = viewOf(block);
  let at = blockHeaderBytes;
  for (const section of sections) {
    view.setUint16(at, section.type, true);
    view.setUint32(at + 4, section.bytes.byteLength, true);
    block.set(section.bytes, at + sectionHeaderBytes);
    at += sectionHeaderBytes + padded(section.bytes.byteLength);
  }
  sealBlock(block, header, checksum);
  return block;
};
