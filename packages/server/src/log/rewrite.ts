/** Rewrites one sealed write-ahead segment into a history file per log: small blocks of a channel are merged, what was trimmed is left out. */
import { join } from "node:path";
import {
  type BlockHeader,
  blockKind,
  corrupt,
  EventBlockBuilder,
  EventBlockReader,
  type Files,
  InternedString,
  readBlockHeader,
} from "@headrace/engine";
import { checksum } from "./checksum.ts";
import { decodeFrameHeader, type FrameHeader, frameHeaderBytes, hashOfFrame, nextFrame, verifyFrame } from "./frame.ts";
import { type HistoryEntry, writeHistoryFile } from "./history-file.ts";
import { nodeFiles } from "./node-files.ts";
import { hasLaterFrame, magicsIn } from "./recovery.ts";
import { decodeSegmentHeader, type SegmentHeader, segmentFile, segmentHeaderBytes } from "./segment.ts";

export interface RewriteRequest {
  readonly walFolder: string;
  readonly historyFolder: string;
  readonly segment: number;
  /** `[logId, writer, beforeSequence]`: records below are not kept. */
  readonly trims: readonly (readonly [number, number, number])[];
  /** Passes over what is damaged instead of failing; for a repair. */
  readonly salvage?: boolean;
}

export interface HistoryFile {
  readonly logId: number;
  /** Path inside the history folder. */
  readonly path: string;
  readonly byteLength: number;
  readonly entries: HistoryEntry[];
}

type Packed = { header: BlockHeader; block: Uint8Array };

const mergedBytes = 256 * 1024;

/** Where a channel ended in a segment: kept even when all its blocks are gone, or its numbers would start again. */
export type ChannelEnd = readonly [logId: number, writer: number, epoch: number, endSequence: number];

export const rewriteSegment = (
  request: RewriteRequest,
  fileSystem: Files = nodeFiles,
): { files: HistoryFile[]; ends: ChannelEnd[] } => {
  const { walFolder, historyFolder, segment, trims } = request;
  const bytes = fileSystem.readFile(segmentFile(walFolder, segment));
  const head = decodeSegmentHeader(bytes);
  if (typeof head !== "object" || head.number !== segment) {
    if (request.salvage) return { files: [], ends: [] };
    throw corrupt(`write-ahead segment ${segment} has no valid header`);
  }
  const before = new Map(trims.map(([logId, writer, sequence]) => [`${logId}/${writer}`, sequence]));
  const channels = new Map<string, Packed[]>();
  const ends = new Map<string, ChannelEnd>();
  const walk = request.salvage ? soundFrames(bytes, head) : frames(bytes, head, nextHead(request, fileSystem));
  for (const { at, frame } of walk) {
    let blockAt = at + frameHeaderBytes;
    for (let index = 0; index < frame.blockCount; index++) {
      const header = readBlockHeader(bytes.subarray(blockAt));
      const channel = `${header.logId}/${header.writer}`;
      ends.set(channel, [header.logId, header.writer, header.epoch, header.sequence + header.recordCount]);
      if (header.sequence + header.recordCount > (before.get(channel) ?? 0)) {
        const blocks = channels.get(channel) ?? [];
        channels.set(channel, blocks);
        blocks.push({ header, block: bytes.subarray(blockAt, blockAt + header.byteLength) });
      }
      blockAt += header.byteLength;
    }
  }
  const logs = new Map<number, Packed[]>();
  // One for all channels: a node with many partitions has many of them in a segment.
  const builder = new EventBlockBuilder(mergedBytes);
  for (const blocks of channels.values()) {
    const merged = blocks[0].header.kind === blockKind.events ? mergeEvents(blocks, builder) : blocks;
    const logId = blocks[0].header.logId;
    logs.set(logId, [...(logs.get(logId) ?? []), ...merged]);
  }
  const files = [...logs].map(([logId, blocks]) => {
    const path = `${logId}/${String(segment).padStart(12, "0")}.hist`;
    const entries = writeHistoryFile(join(historyFolder, path), logId, blocks, fileSystem);
    return { logId, path, entries, byteLength: entries.reduce((sum, entry) => sum + entry.storedBytes, 0) };
  });
  return { files, ends: [...ends.values()] };
};

interface PlacedFrame {
  readonly at: number;
  readonly frame: FrameHeader;
}

/** The header of the segment behind: it says how this one ends. */
const nextHead = ({ walFolder, segment }: RewriteRequest, files: Files): SegmentHeader | undefined => {
  const path = segmentFile(walFolder, segment + 1);
  const head = files.exists(path) ? decodeSegmentHeader(files.readFile(path)) : "empty";
  return typeof head === "object" ? head : undefined;
};

/**
 * The frames of a sealed segment. When it has been rewritten it is deleted, so all of them have to be there: numbers and hashes go on from one to the
 * next, and the last is the one that the next segment goes on from.
 * @throws HR_BLOCK_CORRUPT
 */
function* frames(bytes: Uint8Array, head: SegmentHeader, next: SegmentHeader | undefined): Generator<PlacedFrame> {
  const { number, firstGroup, previousHash, salt } = head;
  const expected = { offset: segmentHeaderBytes, groupNumber: firstGroup, previousHash, salt };
  for (let frame = nextFrame(bytes, expected); frame; frame = nextFrame(bytes, expected)) {
    const at = expected.offset;
    yield { at, frame };
    expected.offset += frame.byteLength;
    expected.groupNumber += 1;
    expected.previousHash = hashOfFrame(bytes, at);
  }
  const { offset, groupNumber } = expected;
  const isWhole = next
    ? next.firstGroup === groupNumber && next.previousHash === expected.previousHash
    : !hasLaterFrame(bytes, offset, groupNumber, salt);
  if (!isWhole) throw corrupt(`write-ahead segment ${number} is damaged at byte ${offset}`);
}

/** The frames of a segment whose checksums are right, whatever stands between them. */
function* soundFrames(bytes: Uint8Array, { salt }: SegmentHeader): Generator<PlacedFrame> {
  let lastGroup = 0;
  let end = segmentHeaderBytes;
  for (const at of magicsIn(bytes, 0)) {
    const frame = at < end ? undefined : decodeFrameHeader(bytes, at);
    if (!frame || frame.groupNumber <= lastGroup || !verifyFrame(bytes, at, frame, salt)) continue;
    yield { at, frame };
    lastGroup = frame.groupNumber;
    end = at + frame.byteLength;
  }
}

/** Packs the events of consecutive blocks of one channel again, into blocks of up to 256 KiB. */
const mergeEvents = (blocks: readonly Packed[], builder: EventBlockBuilder): Packed[] => {
  if (blocks.every((packed) => packed.block.byteLength > mergedBytes / 2)) return [...blocks];
  const merged: Packed[] = [];
  let first: BlockHeader | undefined;
  let sequence = 0;
  const seal = (): void => {
    if (!first || builder.recordCount === 0) return;
    const block = builder
      .seal({ logId: first.logId, writer: first.writer, epoch: first.epoch, sequence }, checksum)
      .slice();
    sequence += builder.recordCount;
    merged.push({ header: readBlockHeader(block), block });
    builder.reset();
  };
  for (const { header, block } of blocks) {
    // A big block stays as it is; so does the place where the owner changed, because an epoch stands once a block.
    if (
      block.byteLength > mergedBytes / 2 ||
      (first && (first.epoch !== header.epoch || sequence + builder.recordCount !== header.sequence))
    ) {
      seal();
      first = undefined;
    }
    if (block.byteLength > mergedBytes / 2) {
      merged.push({ header, block });
      continue;
    }
    if (!first) {
      first = header;
      sequence = header.sequence;
    }
    const reader = new EventBlockReader(block, header);
    const strings: InternedString[] = [];
    const interned = (index: number): InternedString => (strings[index] ??= new InternedString(reader.string(index)));
    while (reader.next()) {
      const append = (): boolean =>
        builder.append(
          interned(reader.topicIndex),
          interned(reader.keyIndex),
          interned(reader.clientIndex),
          reader.flags,
          reader.arrivalMs,
          block,
          reader.payloadStart,
          reader.payloadEnd,
          reader.propertiesBytes,
          reader.deviceEpoch,
          reader.deviceSequence,
        );
      if (!append()) {
        seal();
        append();
      }
    }
  }
  seal();
  return merged;
};
