/**
 * Goal: the embedded leases are Leases, and their epochs go on over restarts, whatever was lost. Method: the conformance suite over a real log that
 * is closed and opened again, and folders as older versions, crashes and repairs leave them.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { leasesConformance, MemoryLog, testBlock } from "@headrace/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { EmbeddedLog } from "../log/index.ts";
import { EmbeddedLeases } from "./embedded.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
const nowMs = (): number => 1000;
const openLog = (folder: string): Promise<EmbeddedLog> =>
  EmbeddedLog.open({
    folder,
    segmentBytes: 16384,
    onFatal: (error) => {
      throw error;
    },
  });

describe("the embedded leases are Leases", () => {
  leasesConformance(
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "headrace-leases-"));
      folders.push(folder);
      let log = await openLog(folder);
      return {
        leases: await EmbeddedLeases.open(log, "n", nowMs),
        // No `shared`: the lock of the folder keeps every other holder out, and it does not run out.
        reopen: async () => {
          await log.close();
          log = await openLog(folder);
          return EmbeddedLeases.open(log, "n", nowMs);
        },
        close: () => log.close(),
      };
    },
    { test, equal: (actual, expected) => expect(actual).toEqual(expected) },
  );
});

test("epochs go on behind those of the blocks of a folder that has no leases yet", async () => {
  const log = new MemoryLog();
  const { id } = await log.open("journal/f/0", "journal");
  await log.append([testBlock({ logId: id, writer: id, sequence: 0, epoch: 4711 })]);
  const leases = await EmbeddedLeases.open(log, "n", nowMs);
  expect((await leases.acquire("f/0")).epoch).toBe(4712);
});

test("thousands of acquisitions cost a write each thousand, and only the newest is kept", async () => {
  const log = new MemoryLog();
  const leases = await EmbeddedLeases.open(log, "n", nowMs);
  const { id } = await log.open("leases", "control");
  const epochs = new Set<number>();
  for (let round = 0; round < 50; round++) {
    const taken = await Promise.all(Array.from({ length: 50 }, (_, task) => leases.acquire(`f/${task}`)));
    for (const { epoch } of taken) epochs.add(epoch);
  }
  expect(epochs.size).toBe(2500);
  expect(log.channels(id)).toMatchObject([{ endSequence: 3 }]);
  expect(log.blocksOf(id)).toHaveLength(1);
  const next = await EmbeddedLeases.open(log, "n", nowMs);
  expect((await next.acquire("f/0")).epoch).toBeGreaterThan(Math.max(...epochs));
});

test("a range that cannot be made durable gives no epoch, and the next call tries again", async () => {
  const log = new MemoryLog();
  const leases = await EmbeddedLeases.open(log, "n", nowMs);
  const { id } = await log.open("leases", "control");
  // Another process would have to hold the lock: here it stands for any append that fails.
  await log.fence({ logId: id, writer: 0 }, 99);
  await expect(leases.acquire("f/0")).rejects.toMatchObject({ code: "HR_FENCED" });
  await expect(leases.acquire("f/0")).rejects.toMatchObject({ code: "HR_FENCED" });
  expect(await leases.holder("f/0")).toBeUndefined();
});
