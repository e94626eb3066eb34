/** Where the recovery of a task begins: the newest snapshot that is sound and fits the journal, or the journal's own beginning. */
import type { Channel, Files, Log } from "@headrace/engine";
import { readBlockHeader } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { nodeFiles } from "../../log/index.ts";
import { type DamagedSnapshot, SnapshotStore, type SoundSnapshot } from "./store.ts";

export interface RecoveryBase {
  /** Absent: the journal from its beginning. */
  readonly snapshot?: SoundSnapshot;
  /** Sequence of the first journal block to apply. */
  readonly journalFrom: number;
  readonly damaged: readonly DamagedSnapshot[];
}

/**
 * @throws HR_SNAPSHOT_MISMATCH when the log went backwards (S16) or holds something else than the snapshot was made of (S17);
 * HR_SNAPSHOT_CORRUPT when nothing is left to begin with (S14)
 */
export const chooseBase = async (
  folder: string,
  task: string,
  journal: Channel,
  log: Log,
  files: Files = nodeFiles,
): Promise<RecoveryBase> => {
  const store = new SnapshotStore(folder, files);
  const channel = log.channels(journal.logId).find(({ writer }) => writer === journal.writer);
  const start = channel?.startSequence ?? 0;
  const end = channel?.endSequence ?? 0;
  const damaged: DamagedSnapshot[] = [];
  for (const sequence of store.list()) {
    const snapshot = store.read(sequence);
    if (!("header" in snapshot)) {
      damaged.push(snapshot);
      continue;
    }
    const { header, path } = snapshot;
    const mismatch = (what: string): HeadraceError =>
      new HeadraceError("HR_SNAPSHOT_MISMATCH", `task ${task}: ${what}; the snapshot is ${path}`, {
        data: { task, path, sequence, journalStart: start, journalEnd: end },
      });
    if (header.journalLogId !== journal.logId)
      throw mismatch(`the snapshot was made of log ${header.journalLogId}, the journal is log ${journal.logId}`);
    if (sequence >= end)
      throw mismatch(`the log went backwards: the snapshot holds commit ${sequence}, the journal ends at ${end}`);
    if (sequence >= start) {
      const [block] = await log.read(journal, sequence, 1);
      if (block && readBlockHeader(block).crc !== header.journalCrc)
        throw mismatch(`commit ${sequence} of the journal is another one than the snapshot was made of`);
    } else if (sequence + 1 < start) {
      damaged.push({ path, sequence, reason: `the journal begins at ${start}, behind it` });
      continue;
    }
    return { snapshot, journalFrom: sequence + 1, damaged };
  }
  if (start === 0) return { journalFrom: 0, damaged };
  const why = damaged.map(({ path, reason }) => `${path}: ${reason}`).join("; ") || `there is none in ${folder}`;
  throw new HeadraceError(
    "HR_SNAPSHOT_CORRUPT",
    `task ${task} has no snapshot that can be read, and its journal is kept from ${start} on only (${why})`,
    { data: { task, folder, journalStart: start } },
  );
};

const readBytes = 4 * 1024 * 1024;

/**
 * The journal from `fromSequence` to `endSequence`, in batches and without a gap.
 * @param gaps runs `[from, to)` that are lost, with an operator's word that the task goes on without them
 * @throws HR_SNAPSHOT_CORRUPT when any other part is missing: nothing is left out of a state silently
 */
export async function* journalBatches(
  task: string,
  journal: Channel,
  fromSequence: number,
  endSequence: number,
  log: Pick<Log, "read">,
  gaps: readonly (readonly [number, number])[] = [],
): AsyncGenerator<Uint8Array[]> {
  for (let at = fromSequence; at < endSequence; ) {
    const blocks = await log.read(journal, at, readBytes);
    const from = at;
    for (const block of blocks) {
      const { sequence, recordCount } = readBlockHeader(block);
      if (sequence !== at && !gaps.some(([lost, behind]) => lost <= at && behind === sequence)) break;
      at = sequence + recordCount;
    }
    const last = blocks.at(-1);
    const end = last && readBlockHeader(last);
    if (!end || end.sequence + end.recordCount !== at || at === from) {
      throw new HeadraceError(
        "HR_SNAPSHOT_CORRUPT",
        `task ${task}: commit ${at} of its journal is missing, and no snapshot holds it`,
        { data: { task, sequence: at, journalEnd: endSequence } },
      );
    }
    yield blocks;
  }
}
