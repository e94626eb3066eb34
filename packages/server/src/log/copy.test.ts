/**
 * Goal (P6, S9): a copy of a damaged log is refused; it never ends where the damage is as if the log ended there.
 * Method: one byte is changed at places all over the segments; the copy must hold what a start on the folder itself would find, or be refused.
 */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { HeadraceError } from "@headrace/sdk";
import { expect, test } from "vitest";
import { change, newFolder, stopped, walFiles } from "../../test/stopped-log.ts";
import { copyLog } from "./copy.ts";
import { Survey } from "./findings.ts";
import { recoverWal } from "./recovery.ts";

const strideBytes = 197;

/** Blocks that a start would find; undefined when it is refused. */
const blocksIn = (folder: string): string[] | undefined => {
  const blocks: string[] = [];
  try {
    recoverWal(join(folder, "wal"), 0, (_segment, _offset, { logId, sequence }) => blocks.push(`${logId}/${sequence}`));
  } catch (error) {
    if (!(error instanceof HeadraceError) || error.code !== "HR_BLOCK_CORRUPT") throw error;
    return undefined;
  }
  return blocks;
};

/** The same of a copy; undefined when copying is refused. */
const blocksInCopy = (folder: string): string[] | undefined => {
  const to = newFolder();
  try {
    copyLog(folder, to, new Survey(() => undefined));
  } catch (error) {
    expect(error).toMatchObject({ code: "HR_BLOCK_CORRUPT" });
    return undefined;
  }
  const blocks = blocksIn(to);
  rmSync(to, { recursive: true });
  return blocks;
};

test("S9: a copy of damaged segments is refused, wherever the damage is", { timeout: 120_000 }, async () => {
  const { folder } = await stopped(false);
  const whole = blocksIn(folder);
  expect(whole?.length).toBeGreaterThan(120);
  expect(blocksInCopy(folder)).toEqual(whole);
  const damaged = newFolder();
  let refused = 0;
  for (const [index] of walFiles(folder).entries()) {
    for (let at = 1; at < 8192; at += strideBytes) {
      cpSync(folder, damaged, { recursive: true });
      change(walFiles(damaged)[index]!, at, 1);
      const found = blocksIn(damaged);
      if (!found) refused++;
      expect(blocksInCopy(damaged), `segment ${index + 1}, byte ${at}`).toEqual(found);
    }
  }
  expect(refused).toBeGreaterThan(50);
});

test("S11: a copy of a log with a missing segment is refused", async () => {
  const { folder } = await stopped(false);
  rmSync(walFiles(folder)[1]!);
  expect(blocksIn(folder)).toBeUndefined();
  expect(blocksInCopy(folder)).toBeUndefined();
});
