/**
 * History files: the blocks of one log from one sealed segment, merged, compressed, with a footer index. Layout, little endian:
 * "HRH1" and version (8 bytes), entries (zstd each), footer (56 bytes an entry), trailer (24 bytes: u64 footer offset, u32 entries,
 * u32 CRC32C of the footer, u32 log id, "HRH1").
 */
import { dirname } from "node:path";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { type BlockHeader, corrupt, type Files, getUint53, setUint53, viewOf } from "@headrace/engine";
import { checksum } from "./checksum.ts";
import { nodeFiles } from "./node-files.ts";
import { PacedWriter } from "./paced-writer.ts";
import { makeDurableFolder, syncFolder } from "./segment.ts";

const magic = 0x31485248;
const headBytes = 8;
const formatVersion = 1;
/** Fastest level: it runs at the rate of the intake, and the next one costs half as much again for a few per cent of size. */
const compressionLevel = 1;
const entryBytes = 56;
const trailerBytes = 24;

export interface HistoryEntry {
  writer: number;
  epoch: number;
  sequence: number;
  recordCount: number;
  offset: number;
  storedBytes: number;
  rawBytes: number;
  crc: number;
  earliestMs: number;
  latestMs: number;
}

/** Writes a history file under a temporary name, makes it durable and renames it. */
export const writeHistoryFile = (
  path: string,
  logId: number,
  blocks: readonly { header: BlockHeader; block: Uint8Array }[],
  files: Files = nodeFiles,
): HistoryEntry[] => {
  makeDurableFolder(dirname(path), files);
  const head = new Uint8Array(headBytes);
  viewOf(head).setUint32(0, magic, true);
  viewOf(head).setUint16(4, formatVersion, true);
  const parts: Uint8Array[] = [head];
  const entries: HistoryEntry[] = [];
  let offset = headBytes;
  for (const { header, block } of blocks) {
    const stored = zstdCompressSync(block, { params: { [constants.ZSTD_c_compressionLevel]: compressionLevel } });
    entries.push({
      ...header,
      offset,
      storedBytes: stored.byteLength,
      rawBytes: block.byteLength,
      crc: checksum(stored),
    });
    parts.push(stored);
    offset += stored.byteLength;
  }
  const footer = new Uint8Array(entries.length * entryBytes);
  const view = viewOf(footer);
  for (const [index, entry] of entries.entries()) {
    const at = index * entryBytes;
    view.setUint32(at, entry.writer, true);
    view.setUint32(at + 4, entry.epoch, true);
    setUint53(view, at + 8, entry.sequence);
    view.setUint32(at + 16, entry.recordCount, true);
    view.setUint32(at + 20, entry.storedBytes, true);
    setUint53(view, at + 24, entry.offset);
    view.setUint32(at + 32, entry.rawBytes, true);
    view.setUint32(at + 36, entry.crc, true);
    setUint53(view, at + 40, entry.earliestMs);
    setUint53(view, at + 48, entry.latestMs);
  }
  const trailer = new Uint8Array(trailerBytes);
  const trailerView = viewOf(trailer);
  setUint53(trailerView, 0, offset);
  trailerView.setUint32(8, entries.length, true);
  trailerView.setUint32(12, checksum(footer), true);
  trailerView.setUint32(16, logId, true);
  trailerView.setUint32(20, magic, true);
  const temporary = `${path}.tmp`;
  const descriptor = files.open(temporary, "w");
  try {
    const writer = new PacedWriter(files, descriptor);
    for (const part of [...parts, footer, trailer]) writer.write(part);
    writer.sync();
  } finally {
    files.close(descriptor);
  }
  files.rename(temporary, path);
  syncFolder(dirname(path), files);
  return entries;
};

const readExactly = (
  files: Files,
  descriptor: number,
  offset: number,
  byteLength: number,
  path: string,
): Uint8Array => {
  const bytes = new Uint8Array(byteLength);
  for (let at = 0; at < byteLength; ) {
    const read = files.read(descriptor, bytes, at, byteLength - at, offset + at);
    if (read === 0) throw corrupt(`${path} ends at byte ${offset + at}, ${byteLength - at} more were expected`);
    at += read;
  }
  return bytes;
};

/** The footer of a history file as it is stored; entries are decoded one by one. */
export class HistoryFooter {
  readonly count: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.count = bytes.byteLength / entryBytes;
    this.#view = viewOf(bytes);
  }

  get byteLength(): number {
    return this.#view.byteLength;
  }
  /** Sequence behind the last record of an entry. */
  endSequence(index: number): number {
    return getUint53(this.#view, index * entryBytes + 8) + this.#view.getUint32(index * entryBytes + 16, true);
  }
  entry(index: number): HistoryEntry {
    const view = this.#view;
    const at = index * entryBytes;
    return {
      writer: view.getUint32(at, true),
      epoch: view.getUint32(at + 4, true),
      sequence: getUint53(view, at + 8),
      recordCount: view.getUint32(at + 16, true),
      storedBytes: view.getUint32(at + 20, true),
      offset: getUint53(view, at + 24),
      rawBytes: view.getUint32(at + 32, true),
      crc: view.getUint32(at + 36, true),
      earliestMs: getUint53(view, at + 40),
      latestMs: getUint53(view, at + 48),
    };
  }
  *entries(): Generator<HistoryEntry> {
    for (let index = 0; index < this.count; index++) yield this.entry(index);
  }
}

/** All entries of a history file. @throws HR_BLOCK_CORRUPT naming the file */
export const readHistoryIndex = (path: string, logId: number): HistoryEntry[] => [
  ...readHistoryFooter(path, logId).entries(),
];

/** Reads and checks the footer of a history file. @throws HR_BLOCK_CORRUPT naming the file */
export const readHistoryFooter = (path: string, logId: number, files: Files = nodeFiles): HistoryFooter => {
  if (!files.exists(path)) throw corrupt(`${path} is missing`);
  const descriptor = files.open(path, "r");
  try {
    const size = files.size(descriptor);
    if (size < headBytes + trailerBytes) throw corrupt(`${path} is cut at byte ${size}`);
    const head = viewOf(readExactly(files, descriptor, 0, headBytes, path));
    if (head.getUint32(0, true) !== magic) throw corrupt(`${path} does not begin as a history file does`);
    const version = head.getUint16(4, true);
    if (version !== formatVersion) throw corrupt(`${path}: history file version ${version} is unknown to this release`);
    const trailer = viewOf(readExactly(files, descriptor, size - trailerBytes, trailerBytes, path));
    if (trailer.getUint32(20, true) !== magic) throw corrupt(`${path} has no trailer at byte ${size - trailerBytes}`);
    if (trailer.getUint32(16, true) !== logId)
      throw corrupt(`${path} belongs to log ${trailer.getUint32(16, true)}, expected ${logId}`);
    const count = trailer.getUint32(8, true);
    const start = getUint53(trailer, 0);
    if (start + count * entryBytes + trailerBytes !== size)
      throw corrupt(`${path} has a footer of the wrong size at byte ${start}`);
    const footer = readExactly(files, descriptor, start, count * entryBytes, path);
    if (checksum(footer) !== trailer.getUint32(12, true))
      throw corrupt(`${path} has a damaged footer at byte ${start}`);
    return new HistoryFooter(footer);
  } finally {
    files.close(descriptor);
  }
};

/** Reads one block back. @throws HR_BLOCK_CORRUPT naming file and offset */
export const readHistoryBlock = (
  descriptor: number,
  path: string,
  entry: Pick<HistoryEntry, "offset" | "storedBytes" | "crc">,
  files: Files = nodeFiles,
): Uint8Array => {
  const stored = readExactly(files, descriptor, entry.offset, entry.storedBytes, path);
  if (checksum(stored) !== entry.crc) throw corrupt(`${path} is damaged at byte ${entry.offset}`);
  // A plain array with a buffer of its own: readers hand blocks to other threads, and what comes from Node's pool cannot be moved.
  return new Uint8Array(zstdDecompressSync(stored));
};
