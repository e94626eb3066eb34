/** One step of a task's snapshots: the newest sound one and the journal behind it become the next one. */
import { type Channel, Compaction, type Files, readBlockHeader } from "@headrace/engine";
import { checksum, nodeFiles } from "../../log/index.ts";
import type { SnapshotHeader } from "./snapshot-file.ts";
import { SnapshotStore, type SoundSnapshot } from "./store.ts";

/** What compaction needs of the log. */
export interface JournalReader {
  read(channel: Channel, fromSequence: number, maxBytes: number): Promise<Uint8Array[]>;
}

export interface CompactRequest {
  /** Folder of the task's snapshots. */
  readonly folder: string;
  readonly journalLogId: number;
  /** Sequence of the last journal block to take in: the end of a durable commit. */
  readonly toSequence: number;
  /** Runs `[from, to)` of the journal that are lost, with an operator's word that the task goes on without them. */
  readonly gaps?: readonly (readonly [number, number])[];
}
export interface CompactResult {
  readonly header: SnapshotHeader;
  /** Sequence of the older snapshot that is kept, from which on the journal is needed; undefined while there is one only. */
  readonly baseSequence: number | undefined;
}

/** Makes snapshots, one at a time, from what is stored; never asks a task. */
export interface Compactor {
  compact(request: CompactRequest): Promise<CompactResult>;
  /** Gives up what is under way. */
  close(): Promise<void>;
}

const readBytes = 1024 * 1024;

/** @throws HR_NOT_FOUND when no snapshot is sound and the journal does not reach back to the beginning */
export const compactSnapshot = async (
  { folder, journalLogId, toSequence, gaps = [] }: CompactRequest,
  journal: JournalReader,
  files: Files = nodeFiles,
): Promise<CompactResult> => {
  const store = new SnapshotStore(folder, files);
  // A task that was started again may have asked for a later one in between.
  const [latest] = store.list();
  const there = latest !== undefined && latest >= toSequence ? store.read(latest) : undefined;
  if (there && "header" in there) return { header: there.header, baseSequence: undefined };
  const base = newestSound(store, toSequence);
  const compaction = new Compaction();
  let journalCrc = 0;
  for (let at = base ? base.header.sequence + 1 : 0; at <= toSequence; ) {
    const blocks = await journal.read({ logId: journalLogId, writer: journalLogId }, at, readBytes);
    if (blocks.length === 0) throw new Error(`the journal ends at ${at}, ${toSequence} was asked for`);
    for (const block of blocks) {
      const header = readBlockHeader(block);
      if (header.sequence !== at && !gaps.some(([from, to]) => from <= at && to === header.sequence))
        throw new Error(`the journal goes on with ${header.sequence} where ${at} was expected`);
      if (at > toSequence) break;
      compaction.add(block);
      journalCrc = header.crc;
      at = header.sequence + header.recordCount;
    }
  }
  const describe = () => ({ journalLogId, journalCrc, ...compaction.content });
  const blocks = compaction.fold(base?.blocks ?? [], checksum);
  return {
    header: store.write(toSequence, blocks, describe, base?.header.sequence),
    baseSequence: base?.header.sequence,
  };
};

const newestSound = (store: SnapshotStore, toSequence: number): SoundSnapshot | undefined => {
  for (const sequence of store.list()) {
    if (sequence >= toSequence) continue;
    const snapshot = store.read(sequence);
    if ("header" in snapshot) return snapshot;
    process.emitWarning(`snapshot ${snapshot.path} is damaged and passed over: ${snapshot.reason}`);
  }
  return undefined;
};
