/**
 * Goal (P4, P6, P7): a write-ahead log whose segments cannot be rewritten is bounded, says so, and goes on by itself; one whose segments are damaged
 * stops, and nothing of them is left out of history.
 * Method: a real log in a folder, whose rewriting fails until it is let go.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blockKind, crc32c, EventBlockBuilder, InternedString, packBlock } from "@headrace/engine";
import type { HeadraceError } from "@headrace/sdk";
import { testBlock } from "@headrace/testkit";
import { expect, test, vi } from "vitest";
import { newFolder, read } from "../../test/stopped-log.ts";
import { EmbeddedLog, type GroupSource } from "./embedded.ts";
import { nodeLogSystem } from "./log-system.ts";
import { rewriteSegment } from "./rewrite.ts";
import { segmentFile } from "./segment.ts";

const segmentBytes = 8192;
const walBytesMax = 4 * segmentBytes;

/** A log that rewrites only when it may. */
async function openHeld(onFatal: (error: HeadraceError) => void = () => undefined) {
  const folder = newFolder();
  const gate = { open: false };
  const startMaintenance = () => {
    const maintenance = nodeLogSystem.startMaintenance();
    const rewrite: typeof maintenance.rewrite = (request) =>
      gate.open ? maintenance.rewrite(request) : Promise.reject(new Error("EMFILE: too many open files"));
    return { ...maintenance, rewrite };
  };
  const system = { ...nodeLogSystem, startMaintenance };
  const log = await EmbeddedLog.open({ folder, segmentBytes, walBytesMax, system, onFatal });
  return { folder, gate, log };
}

const inputOf = (logId: number, sequence: number): Uint8Array => {
  const builder = new EventBlockBuilder(4096);
  const name = new InternedString("a");
  builder.append(name, name, name, 1, 1000, new Uint8Array(3000), 0, 3000, undefined, -1, -1);
  return builder.seal({ logId, writer: 0, epoch: 1, sequence }, crc32c).slice();
};
const commitOf = (logId: number, sequence: number): Uint8Array => {
  const place = { logId, writer: logId, epoch: 1, sequence, recordCount: 1, earliestMs: 0, latestMs: 0 };
  return packBlock({ ...place, kind: blockKind.commit }, [{ type: 99, bytes: new Uint8Array(3000) }], crc32c);
};

test("what cannot be rewritten is bounded: input is refused, commits of what was accepted go on for as much again, and all goes on by itself", async () => {
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  const { folder, gate, log } = await openHeld();
  const { id: logId } = await log.open("stream/a/0", "stream");
  const { id: journalId } = await log.open("journal/f/0", "journal");
  let sequence = 0;
  const input = (): Promise<void> => log.append([inputOf(logId, sequence)]);
  const untilRefused = async (append: () => Promise<void>): Promise<void> => {
    for (let count = 0; count < 100; count++) await append();
  };
  await expect(
    untilRefused(async () => {
      await input();
      sequence++;
    }),
  ).rejects.toMatchObject({ code: "HR_LOG_BEHIND", retry: { afterMs: 1000 } });
  expect(log.metrics().walBytes).toBeLessThanOrEqual(walBytesMax + segmentBytes);

  // What gateways of the same thread hold is refused as well, and told.
  let told: HeadraceError | undefined;
  const waiting = [inputOf(logId, sequence)];
  const source: GroupSource = {
    collect: () => waiting.splice(0),
    settled: (error) => {
      told = error;
    },
  };
  const remove = log.addSource(source);
  log.requestFlush();
  await expect.poll(() => told?.code).toBe("HR_LOG_BEHIND");
  remove();

  let commits = 0;
  await expect(
    untilRefused(() => log.append([commitOf(journalId, commits)]).then(() => void commits++)),
  ).rejects.toThrow(/HR_LOG_BEHIND|bound is/);
  expect(commits).toBeGreaterThan(3);
  expect(log.metrics().walBytes).toBeLessThanOrEqual(2 * walBytesMax + segmentBytes);

  gate.open = true;
  await expect.poll(() => log.metrics().walBytes, { timeout: 15_000 }).toBeLessThan(walBytesMax);
  await input();
  await log.close();
  expect(warned.mock.calls.flat().join()).toMatch(/tried again: .*EMFILE/);
  expect(await read(folder, logId)).toEqual(Array.from({ length: sequence + 1 }, (_, at) => at));
});

test.each(["the magic of a frame", "a byte of a block", "the last frame"])(
  "S9: a sealed segment that is damaged at %s is not rewritten: the log stops and names it",
  async (place) => {
    const fatal = Promise.withResolvers<HeadraceError>();
    const { folder, gate, log } = await openHeld(fatal.resolve);
    const { id: logId } = await log.open("stream/a/0", "stream");
    for (let sequence = 0; sequence < 12; sequence++)
      await log.append([testBlock({ logId, sequence, contentBytes: 1000 })]);
    const file = segmentFile(join(folder, "wal"), 1);
    const bytes = readFileSync(file);
    const magic = Buffer.from("HRG1");
    const at = { "the magic of a frame": bytes.indexOf(magic, 2000), "a byte of a block": 3000 }[place];
    // A last frame of zeros looks like an end: only the next segment says that there was one.
    if (at === undefined) bytes.fill(0, bytes.lastIndexOf(magic));
    else bytes[at] ^= 1;
    writeFileSync(file, bytes);
    const request = { walFolder: join(folder, "wal"), historyFolder: newFolder(), segment: 1, trims: [] };
    expect(() => rewriteSegment(request)).toThrow(/segment 1 is damaged at byte \d+/);
    gate.open = true;
    for (let sequence = 12; sequence < 24; sequence++)
      await log.append([testBlock({ logId, sequence, contentBytes: 1000 })]).catch(() => undefined);
    expect(await fatal.promise).toMatchObject({
      code: "HR_BLOCK_CORRUPT",
      message: expect.stringMatching(/segment 1/),
    });
  },
);
