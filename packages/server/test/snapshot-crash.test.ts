/**
 * Goal (S15): a process that ends at any step of writing a snapshot leaves the old ones or the new one, and the same state is recovered from either.
 * Method: strace kills it at the Nth call of each kind that touches the files of snapshots, for every N.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Compaction, decodeCommit } from "@headrace/engine";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checksum } from "../src/log/checksum.ts";
import { chooseBase } from "../src/runtime/snapshots/choose-base.ts";
import { compactSnapshot } from "../src/runtime/snapshots/compact.ts";
import { SnapshotStore } from "../src/runtime/snapshots/store.ts";
import { journalLogId, journalOf } from "./snapshot-journal.ts";

const child = fileURLToPath(new URL("./snapshot-child.ts", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "headrace-snapshot-crash-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const before = join(root, "before");
const [older, old, next] = [3, 7, 11];
const journal = { logId: journalLogId, writer: journalLogId };

beforeAll(async () => {
  for (const toSequence of [older, old])
    await compactSnapshot({ folder: before, journalLogId, toSequence }, journalOf(toSequence + 1));
});

/** What a task has after its recovery. */
const recovered = async (folder: string): Promise<unknown> => {
  const log = journalOf(next + 1);
  const { snapshot, journalFrom } = await chooseBase(folder, "f/0", journal, log);
  const compaction = new Compaction();
  for (const block of log.readNow(journal, journalFrom, Number.POSITIVE_INFINITY)) compaction.add(block);
  const commits = [...compaction.fold(snapshot?.blocks ?? [], checksum)].map((block) => decodeCommit(block));
  return commits.map(({ state, timers, positions, meta }) => [
    state.map(({ key, bytes, touchedMs }) => [key, bytes?.byteLength, bytes?.[0], touchedMs]),
    timers,
    positions,
    meta,
  ]);
};

const make = async (folder: string, inject: string): Promise<string | null> => {
  const [call] = inject.split(":");
  const node = [process.execPath, "--conditions=headrace-source", "--disable-warning=ExperimentalWarning", child];
  const strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", `trace=${call}`, "-e", `inject=${inject}`, ...node];
  const [file = "", ...args] = [...strace, folder, String(next)];
  const ended = spawn(file, args, { stdio: ["ignore", "ignore", "inherit"] });
  const [, signal] = (await once(ended, "exit")) as [number | null, string | null];
  return signal;
};

test.each([
  // The blocks, and the header in the end.
  ["pwrite64", [1, 2, 3]],
  // Of the file, and of the folder.
  ["fsync", [1, 2]],
  ["rename", [1]],
  ["unlink", [1]],
] as const)(
  "S15: killed at %s, a task recovers from the old snapshot or the new one",
  { timeout: 120_000 },
  async (call, places) => {
    for (const when of places) {
      const folder = join(root, `${call}-${when}`);
      cpSync(before, folder, { recursive: true });
      expect(await make(folder, `${call}:signal=SIGKILL:when=${when}`), `${call} ${when}`).toBe("SIGKILL");
      const store = new SnapshotStore(folder);
      const isNamed = call === "unlink" || (call === "fsync" && when === 2);
      // Nothing goes before the new one is durable under its name.
      expect(store.list(), `${call} ${when}`).toEqual(isNamed ? [next, old, older] : [old, older]);
      for (const sequence of store.list()) expect(store.read(sequence)).toHaveProperty("header");
      expect(await recovered(folder)).toEqual(await recovered(before));
      // The next one is made all the same, and takes away what was left behind.
      await compactSnapshot({ folder, journalLogId, toSequence: next + 4 }, journalOf(next + 5));
      expect(store.list()).toEqual([next + 4, isNamed ? next : old]);
    }
  },
);
