/** What the log keeps in memory of a history file: where each writer's entries stand, and what retention asks about. */
import { corrupt } from "@headrace/engine";
import type { HistoryRun } from "./channel-index.ts";
import type { HistoryEntry } from "./history-file.ts";

/** A run with its writer and the highest epoch in it. */
export interface WriterRun extends HistoryRun {
  readonly writer: number;
  readonly epoch: number;
}

export interface HistorySummary {
  readonly path: string;
  readonly logId: number;
  /** Of the entries as they are stored. */
  readonly byteLength: number;
  readonly latestMs: number;
  /** In the order of the file. */
  readonly runs: readonly WriterRun[];
}

/** @throws HR_BLOCK_CORRUPT when sequences go backwards */
export const summaryOf = (path: string, logId: number, entries: Iterable<HistoryEntry>): HistorySummary => {
  const runs: { -readonly [Field in keyof WriterRun]: WriterRun[Field] }[] = [];
  let latestMs = 0;
  let byteLength = 0;
  let index = 0;
  for (const entry of entries) {
    const { writer, epoch, sequence } = entry;
    const endSequence = sequence + entry.recordCount;
    const last = runs.at(-1);
    if (last && last.writer === writer) {
      if (sequence < last.endSequence)
        throw corrupt(`${path} goes back from sequence ${last.endSequence} to ${sequence} of log ${logId}`);
      last.endSequence = endSequence;
      last.toEntry = index + 1;
      last.epoch = Math.max(last.epoch, epoch);
    } else {
      const place = { fromEntry: index, toEntry: index + 1, firstSequence: sequence, endSequence };
      runs.push({ kind: "history", path, writer, epoch, ...place });
    }
    latestMs = Math.max(latestMs, entry.latestMs);
    byteLength += entry.storedBytes;
    index += 1;
  }
  return { path, logId, byteLength, latestMs, runs };
};
