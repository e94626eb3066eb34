/** A journal that is the same in every process, for the tests that kill the one that makes a snapshot of it. */
import {
  blockKind,
  commitSection,
  crc32c,
  encodeMeta,
  encodePositions,
  encodeState,
  encodeTimers,
  packBlock,
} from "@headrace/engine";
import { MemoryLog } from "@headrace/testkit";

export const journalLogId = 1;

/** A log whose journal has commits 0 to `commits - 1`; each changes one of five keys. */
export function journalOf(commits: number): MemoryLog {
  const log = new MemoryLog();
  log.openNow("journal/f/0", "journal");
  for (let sequence = 0; sequence < commits; sequence++) {
    const key = `k${sequence % 5}`;
    const bytes = new Uint8Array(150_000).fill(sequence);
    const meta = { timeMs: 1000 + sequence, processed: sequence, nextTimerMs: 0, failed: 0 };
    const place = { logId: journalLogId, writer: journalLogId, epoch: 1, sequence, recordCount: 1 };
    const sections = [
      { type: commitSection.state, bytes: encodeState([{ key, bytes }]) },
      { type: commitSection.timers, bytes: encodeTimers([{ key, name: "t", dueMs: sequence }]) },
      { type: commitSection.positions, bytes: encodePositions([{ logId: 9, writer: 0, low: sequence, runs: [] }]) },
      { type: commitSection.meta, bytes: encodeMeta(meta) },
    ];
    const times = { earliestMs: meta.timeMs, latestMs: meta.timeMs };
    log.appendNow([packBlock({ ...place, ...times, kind: blockKind.commit }, sections, crc32c)]);
  }
  return log;
}
