/**
 * Goal (P6): `headrace log verify` finds snapshots that are damaged, that their log does not reach (S16), or that were made of other commits (S17).
 * Method: a data folder with a journal and two snapshots of it, verified as it is and with one thing wrong.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  blockKind,
  commitSection,
  crc32c,
  encodeMeta,
  encodePositions,
  encodeState,
  packBlock,
} from "@headrace/engine";
import { expect, test } from "vitest";
import { EmbeddedLog } from "../src/log/index.ts";
import { compactSnapshot } from "../src/runtime/snapshots/compact.ts";
import { SnapshotStore } from "../src/runtime/snapshots/store.ts";
import { verifyDataFolder } from "../src/verify.ts";
import { newFolder, withoutRewriting } from "./stopped-log.ts";

const openIn = (folder: string): Promise<EmbeddedLog> =>
  EmbeddedLog.open({ folder, segmentBytes: 65_536, system: withoutRewriting, onFatal: () => undefined });

/** Commits of one task; each stands at `low` of its input, which is log 9. */
async function commit(log: EmbeddedLog, value: number, low = 0): Promise<void> {
  const { id } = await log.open("journal/keep/0", "journal");
  const sequence = log.endSequence({ logId: id, writer: id });
  const place = { logId: id, writer: id, epoch: 1, sequence, recordCount: 1, earliestMs: 1, latestMs: 1 };
  const sections = [
    { type: commitSection.state, bytes: encodeState([{ key: "k", bytes: Uint8Array.of(value) }]) },
    { type: commitSection.positions, bytes: encodePositions([{ logId: 9, writer: 0, low, runs: [] }]) },
    { type: commitSection.meta, bytes: encodeMeta({ timeMs: 1000, processed: sequence, nextTimerMs: 0, failed: 0 }) },
  ];
  await log.append([packBlock({ ...place, kind: blockKind.commit }, sections, crc32c)]);
}

/** Six commits with snapshots at the third and the fifth; `early` is the log after the second. */
async function folderWithSnapshots(low = 0): Promise<{ folder: string; early: string; store: SnapshotStore }> {
  const folder = newFolder();
  const early = newFolder();
  const store = new SnapshotStore(join(folder, "snapshots", "keep", "0"));
  const log = await openIn(folder);
  for (let value = 0; value < 6; value++) {
    await commit(log, value, low);
    if (value === 1) cpSync(join(folder, "wal"), join(early, "wal"), { recursive: true });
    const [{ id } = { id: 0 }] = log.list("journal/");
    if (value === 2 || value === 4)
      await compactSnapshot({ folder: store.folder, journalLogId: id, toSequence: value }, log);
  }
  await log.close();
  return { folder, early, store };
}
const damageIn = (folder: string): unknown[] =>
  verifyDataFolder(folder).findings.filter(({ kind }) => kind === "damage");
const restore = (folder: string, early: string): void => {
  rmSync(join(folder, "wal"), { recursive: true });
  mkdirSync(join(folder, "wal"));
  cpSync(join(early, "wal"), join(folder, "wal"), { recursive: true });
};

test("snapshots that fit their journal are sound, and counted", async () => {
  const { folder } = await folderWithSnapshots();
  const progress: [number, number][] = [];
  expect(verifyDataFolder(folder, (...at) => progress.push(at))).toMatchObject({ sound: true, snapshotFiles: 2 });
  expect(progress.at(-1)?.[0]).toBe(progress.at(-1)?.[1]);
});

test("S13: a damaged snapshot is named with its journal", async () => {
  const { folder, store } = await folderWithSnapshots();
  const file = store.file(4);
  const bytes = readFileSync(file);
  bytes[100] ^= 1;
  writeFileSync(file, bytes);
  expect(damageIn(folder)).toMatchObject([
    { file, logs: ["journal/keep/0"], message: expect.stringMatching(/damaged/) },
  ]);
});

test("S16: a log that went backwards is told for each snapshot beyond it", async () => {
  const { folder, early, store } = await folderWithSnapshots();
  restore(folder, early);
  const found = damageIn(folder);
  expect(found).toHaveLength(2);
  expect(found).toMatchObject([{ file: store.file(2), message: expect.stringMatching(/went backwards/) }, {}]);
});

test("S17: a journal that has gone on with other commits is told", async () => {
  const { folder, early, store } = await folderWithSnapshots();
  restore(folder, early);
  const log = await openIn(folder);
  for (let value = 100; value < 110; value++) await commit(log, value);
  await log.close();
  const message = expect.stringMatching(/another one than the snapshot was made of/);
  expect(damageIn(folder)).toMatchObject([
    { file: store.file(2), message },
    { file: store.file(4), message },
  ]);
});

test("a snapshot that stands behind the end of its input is told", async () => {
  const { folder } = await folderWithSnapshots(70);
  expect(damageIn(folder)).toHaveLength(2);
  expect(damageIn(folder)).toMatchObject([{ message: expect.stringMatching(/record 70 of log 9.*ends at 0/) }, {}]);
});
