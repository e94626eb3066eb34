/** Folders of a log that has ended, for tests of what reads its files. */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBlockHeader } from "@headrace/engine";
import { testBlock } from "@headrace/testkit";
import { afterEach, expect } from "vitest";
import { EmbeddedLog } from "../src/log/embedded.ts";
import { type LogSystem, nodeLogSystem } from "../src/log/log-system.ts";

const folders: string[] = [];
export const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-log-"));
  folders.push(folder);
  return folder;
};
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A log whose segments stay what they are. */
export const withoutRewriting: LogSystem = {
  ...nodeLogSystem,
  startMaintenance: () => ({
    prepare: () => Promise.reject(new Error("nothing is prepared")),
    rewrite: () => new Promise(() => undefined),
    removeSegment: () => Promise.resolve(),
    dropHistory: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }),
};

export const openIn = (folder: string, system: LogSystem = withoutRewriting): Promise<EmbeddedLog> =>
  EmbeddedLog.open({ folder, segmentBytes: 8192, nowMs: () => 1000, onFatal: () => undefined, system });

/** A stopped log of 120 records; with history, or with all of it in segments as a crash leaves it. */
export async function stopped(withHistory: boolean): Promise<{ folder: string; logId: number }> {
  const running = newFolder();
  const log = await openIn(running, withHistory ? nodeLogSystem : withoutRewriting);
  const { id } = await log.open("stream/a/0", "stream");
  const folder = newFolder();
  for (let sequence = 0; sequence < 120; sequence++)
    await log.append([testBlock({ logId: id, sequence, contentBytes: 240 })]);
  if (withHistory) {
    // Three files of the stream, so that one of them can be missing.
    const files = () => readdirSync(join(running, "history", String(id))).filter((name) => name.endsWith(".hist"));
    await expect.poll(() => existsSync(join(running, "history", String(id))), { timeout: 10_000 }).toBe(true);
    await expect.poll(() => files().length, { timeout: 10_000 }).toBeGreaterThan(2);
    await log.close();
    cpSync(running, folder, { recursive: true });
    return { folder, logId: id };
  }
  cpSync(join(running, "wal"), join(folder, "wal"), { recursive: true });
  await log.close();
  return { folder, logId: id };
}

/** Sequences that can be read, and those that a reader finds missing. */
export async function read(folder: string, logId: number): Promise<number[]> {
  const log = await openIn(folder);
  const sequences: number[] = [];
  for (const { writer, startSequence, endSequence } of log.channels(logId)) {
    for (let at = startSequence; at < endSequence; ) {
      const blocks = await log.read({ logId, writer }, at, 4096);
      for (const block of blocks) {
        const header = readBlockHeader(block);
        for (let index = 0; index < header.recordCount; index++) sequences.push(header.sequence + index);
        at = header.sequence + header.recordCount;
      }
    }
  }
  await log.close();
  return sequences;
}

export const walFiles = (folder: string): string[] =>
  readdirSync(join(folder, "wal"))
    .filter((name) => name.endsWith(".wal"))
    .sort()
    .map((name) => join(folder, "wal", name));

export const change = (file: string, at: number, bytes: number): void => {
  const content = readFileSync(file);
  for (let index = 0; index < bytes; index++) content[at + index] = bytes === 1 ? content[at]! ^ 0x55 : 0;
  writeFileSync(file, content);
};
