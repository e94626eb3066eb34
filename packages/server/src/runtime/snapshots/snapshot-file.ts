/**
 * A snapshot file, version 1, little endian: a header, then the blocks of a task's whole state as of one commit.
 *
 *   0 u32 magic "HRS1"     16 u64 sequence of the last journal block   40 u64 keys
 *   4 u16 version          24 u32 log id of the journal                48 u64 bytes of keys and values
 *   6 u16 header bytes     28 u32 CRC32C of that journal block         56 u32 CRC32C over the CRC32Cs of the blocks
 *   8 u64 file bytes       32 u32 blocks                               60 u32 CRC32C of bytes 0 to 59
 *                          36 u32 0
 *
 * The file names the journal block that it was made after, by its checksum: a journal that was set back or replaced is found out (S16, S17).
 */
import { corrupt, getUint53, readBlockHeader, setUint53, verifyBlock, viewOf } from "@headrace/engine";
import { checksum } from "../../log/index.ts";

const snapshotMagic = 0x31535248;
const snapshotVersion = 1;
export const snapshotHeaderBytes = 64;

export interface SnapshotHeader {
  readonly fileBytes: number;
  /** Sequence of the last journal block whose changes it holds. */
  readonly sequence: number;
  readonly journalLogId: number;
  /** CRC32C field of that block. */
  readonly journalCrc: number;
  readonly blocks: number;
  readonly keys: number;
  readonly stateBytes: number;
  /** CRC32C over the checksums of the blocks, in their order: none is missing, doubled or moved. */
  readonly blocksCrc: number;
}

export const encodeSnapshotHeader = (header: SnapshotHeader): Uint8Array => {
  const bytes = new Uint8Array(snapshotHeaderBytes);
  const view = viewOf(bytes);
  view.setUint32(0, snapshotMagic, true);
  view.setUint16(4, snapshotVersion, true);
  view.setUint16(6, snapshotHeaderBytes, true);
  setUint53(view, 8, header.fileBytes);
  setUint53(view, 16, header.sequence);
  view.setUint32(24, header.journalLogId, true);
  view.setUint32(28, header.journalCrc, true);
  view.setUint32(32, header.blocks, true);
  setUint53(view, 40, header.keys);
  setUint53(view, 48, header.stateBytes);
  view.setUint32(56, header.blocksCrc, true);
  view.setUint32(60, checksum(bytes.subarray(0, 60)), true);
  return bytes;
};

/** @throws HR_BLOCK_CORRUPT */
export const decodeSnapshotHeader = (bytes: Uint8Array): SnapshotHeader => {
  if (bytes.byteLength < snapshotHeaderBytes) throw corrupt(`a snapshot needs 64 bytes, it has ${bytes.byteLength}`);
  const view = viewOf(bytes);
  const magic = view.getUint32(0, true);
  if (magic !== snapshotMagic) throw corrupt(`the snapshot's magic is 0x${magic.toString(16)}`);
  if (view.getUint32(60, true) !== checksum(bytes.subarray(0, 60))) throw corrupt("the snapshot's header is damaged");
  const version = view.getUint16(4, true);
  if (version !== snapshotVersion) throw corrupt(`snapshot version ${version} is unknown to this release`);
  return {
    fileBytes: getUint53(view, 8),
    sequence: getUint53(view, 16),
    journalLogId: view.getUint32(24, true),
    journalCrc: view.getUint32(28, true),
    blocks: view.getUint32(32, true),
    keys: getUint53(view, 40),
    stateBytes: getUint53(view, 48),
    blocksCrc: view.getUint32(56, true),
  };
};

/** Checksum over the checksums of blocks, block by block. */
export const chainBlockCrc = (chain: number, block: Uint8Array): number => checksum(block.subarray(12, 16), chain);

/**
 * Splits a whole file into its blocks, which are views of `bytes`, and checks everything.
 * @throws HR_BLOCK_CORRUPT saying what is wrong at which byte
 */
export const readSnapshot = (bytes: Uint8Array): { header: SnapshotHeader; blocks: Uint8Array[] } => {
  const header = decodeSnapshotHeader(bytes);
  if (header.fileBytes !== bytes.byteLength)
    throw corrupt(`the snapshot has ${bytes.byteLength} bytes, ${header.fileBytes} were written`);
  const blocks: Uint8Array[] = [];
  let chain = 0;
  for (let at = snapshotHeaderBytes; at < bytes.byteLength; ) {
    const blockHeader = readBlockHeader(bytes.subarray(at));
    const block = bytes.subarray(at, at + blockHeader.byteLength);
    if (!verifyBlock(block, blockHeader, checksum)) throw corrupt(`the snapshot is damaged at byte ${at}`);
    chain = chainBlockCrc(chain, block);
    blocks.push(block);
    at += blockHeader.byteLength;
  }
  if (blocks.length !== header.blocks || chain !== header.blocksCrc)
    throw corrupt("the snapshot's blocks are not the ones that were written");
  return { header, blocks };
};
