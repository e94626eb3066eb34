/**
 * Goal: whatever is damaged in a log's files is found with its place, and a repair loses that alone, says so and never renumbers (P6).
 * S9 bit flip, S10 zeroed page, S11 missing segment, S12 swapped segments.
 */
import { readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readBlockHeader } from "@headrace/engine";
import { testBlock } from "@headrace/testkit";
import { describe, expect, test } from "vitest";
import { change, openIn, read, stopped, walFiles } from "../../test/stopped-log.ts";
import { repairLog } from "./repair.ts";
import { verifyLog } from "./verify.ts";

const all = Array.from({ length: 120 }, (_, sequence) => sequence);

/** What is missing must be exactly what the gaps say. */
async function expectRepaired(folder: string, logId: number): Promise<number> {
  const { gaps } = repairLog(folder, 5000);
  const lost = new Set(
    gaps
      .filter((gap) => gap.logId === logId)
      .flatMap(({ fromSequence, toSequence }) => all.slice(fromSequence, toSequence)),
  );
  expect(verifyLog(folder).findings.filter(({ kind }) => kind === "damage")).toEqual([]);
  expect(verifyLog(folder).gaps).toHaveLength(gaps.length);
  expect(await read(folder, logId)).toEqual(all.filter((sequence) => !lost.has(sequence)));
  expect(repairLog(folder, 6000)).toEqual({ gaps: [], moved: [] });
  // What comes now does not take the numbers of what was lost.
  const log = await openIn(folder);
  expect(log.endSequence({ logId, writer: 0 })).toBe(120);
  expect(log.gaps().filter((gap) => gap.logId === logId)).toMatchObject([...gaps].filter((gap) => gap.logId === logId));
  await log.append([testBlock({ logId, sequence: 120 })]);
  await log.close();
  return lost.size;
}

test("a sound log has no findings, whatever its files", async () => {
  for (const withHistory of [true, false]) {
    const { folder } = await stopped(withHistory);
    const survey = verifyLog(folder);
    expect(survey.findings.filter(({ kind }) => kind === "damage")).toEqual([]);
    expect(survey.records).toBeGreaterThanOrEqual(120);
    expect(repairLog(folder, 1)).toEqual({ gaps: [], moved: [] });
  }
});

test("blocks have buffers of their own, from segments and from history: they are moved to other threads", async () => {
  const { folder, logId } = await stopped(true);
  const log = await openIn(folder);
  for (let at = 0; at < 120; ) {
    for (const block of await log.read({ logId, writer: 0 }, at, 4096)) {
      const header = readBlockHeader(block);
      at = header.sequence + header.recordCount;
      expect(block.slice().buffer).not.toBe(block.buffer);
      expect(structuredClone(block, { transfer: [block.buffer as ArrayBuffer] }).byteLength).toBe(header.byteLength);
    }
  }
  await log.close();
});

test("progress reaches the whole, and nothing is changed", async () => {
  const { folder } = await stopped(true);
  const before = readdirSync(folder, { recursive: true }).sort();
  let last: [number, number] = [0, 1];
  verifyLog(folder, (done, total) => {
    expect(done).toBeGreaterThanOrEqual(last[0]);
    last = [done, total];
  });
  expect(last[1]).toBeGreaterThan(0);
  expect(readdirSync(folder, { recursive: true }).sort()).toEqual(before);
});

describe("damage is found with its file, the start is refused, and a repair loses that alone", () => {
  test.each([
    ["S9: a bit flip", 1],
    ["S10: a zeroed page", 1024],
  ])("%s, in a segment", async (_name, bytes) => {
    const { folder, logId } = await stopped(false);
    const [, second] = walFiles(folder);
    change(second!, 3000, bytes);
    const [finding] = verifyLog(folder).findings;
    expect(finding).toMatchObject({ kind: "damage", file: second, logs: ["all"] });
    expect(finding!.offset).toBeLessThanOrEqual(3000);
    await expect(openIn(folder)).rejects.toMatchObject({ code: "HR_BLOCK_CORRUPT" });
    expect(await expectRepaired(folder, logId)).toBeGreaterThan(0);
  });

  test("S9: a bit flip in a history file", async () => {
    const { folder, logId } = await stopped(true);
    const name = readdirSync(join(folder, "history", String(logId)))[0]!;
    const file = join(folder, "history", String(logId), name);
    change(file, 40, 1);
    expect(verifyLog(folder).findings.filter(({ kind }) => kind === "damage")).toMatchObject([
      { file, logs: ["stream/a/0"] },
    ]);
    const { gaps, moved } = repairLog(folder, 5000);
    expect(moved).toHaveLength(1);
    expect(verifyLog(folder).findings.filter(({ kind }) => kind === "damage")).toEqual([]);
    // The first file of a log: what is lost stands before everything that is left, so there is no hole to mark.
    const left = await read(folder, logId);
    expect(left.at(-1)).toBe(119);
    expect(gaps.length).toBeLessThanOrEqual(1);
  });

  test("S9: a damaged header of a segment loses the segment", async () => {
    const { folder, logId } = await stopped(false);
    change(walFiles(folder)[1]!, 10, 1);
    await expect(openIn(folder)).rejects.toMatchObject({ code: "HR_BLOCK_CORRUPT" });
    expect(await expectRepaired(folder, logId)).toBeGreaterThan(5);
  });

  test("S11: a missing segment is named", async () => {
    const { folder, logId } = await stopped(false);
    rmSync(walFiles(folder)[1]!);
    expect(verifyLog(folder).findings[0]!.message).toMatch(/segment 2 is missing/);
    await expect(openIn(folder)).rejects.toThrow(/segment 2 is missing/);
    expect(await expectRepaired(folder, logId)).toBeGreaterThan(5);
  });

  test("S11: a missing history file is named", async () => {
    const { folder, logId } = await stopped(true);
    const names = readdirSync(join(folder, "history", String(logId))).sort();
    const file = join(folder, "history", String(logId), names[1]!);
    rmSync(file);
    const damage = verifyLog(folder).findings.find(({ kind }) => kind === "damage");
    expect(damage).toMatchObject({ file, logs: ["stream/a/0"] });
    await expect(read(folder, logId)).rejects.toThrow(/is missing/);
    expect(await expectRepaired(folder, logId)).toBeGreaterThan(0);
  });

  test("S12: swapped segments are found; nothing is lost by renaming them back", async () => {
    const { folder, logId } = await stopped(false);
    const [first, second] = walFiles(folder);
    const swap = (): void => {
      renameSync(first!, `${first}.x`);
      renameSync(second!, first!);
      renameSync(`${first}.x`, second!);
    };
    swap();
    await expect(openIn(folder)).rejects.toThrow(/it says that it is segment/);
    expect(() => repairLog(folder, 1)).toThrow(/rename the file to the segment that it holds/);
    swap();
    expect(await read(folder, logId)).toEqual(all);
  });

  test("a damaged manifest is made anew from the files", async () => {
    const { folder, logId } = await stopped(true);
    const file = join(folder, "history", "manifest");
    change(file, 20, 1);
    expect(verifyLog(folder).findings.find(({ kind }) => kind === "damage")).toMatchObject({ file });
    await expect(openIn(folder)).rejects.toMatchObject({ code: "HR_BLOCK_CORRUPT" });
    repairLog(folder, 1);
    expect(await read(folder, logId)).toEqual(all);
  });
});
