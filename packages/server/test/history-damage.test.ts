/**
 * Goal (P6, ADR 0019): a history file that is damaged stops its own log, and the tasks that need what is in it; the rest of the node goes on.
 * Method: a log of two streams with history files, of which one stream's is flipped, cut, removed, swapped; then reads, appends and real drivers of tasks.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EventBlockBuilder, InternedString, readBlockHeader } from "@headrace/engine";
import { expect, test, vi } from "vitest";
import { EmbeddedLeases } from "../src/leases/index.ts";
import { checksum, EmbeddedLog } from "../src/log/index.ts";
import { Snapshots } from "../src/runtime/snapshots/index.ts";
import { TaskDriver } from "../src/runtime/task-driver.ts";
import { countingPlan, DrivenTask } from "./driven-task.ts";
import { newFolder } from "./stopped-log.ts";

vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
const records = 80;
const openLog = (folder: string): Promise<EmbeddedLog> =>
  EmbeddedLog.open({
    folder,
    segmentBytes: 8192,
    onFatal: (error) => {
      throw error;
    },
  });

const event = (log: EmbeddedLog, logId: number): Uint8Array => {
  const channel = { logId, writer: 0 };
  const sequence = log.endSequence(channel);
  const builder = new EventBlockBuilder(4096);
  const key = new InternedString(`k${sequence % 3}`);
  const payload = Buffer.from(JSON.stringify({ id: sequence, text: "x".repeat(300) }));
  builder.append(key, key, key, 1, 1000, payload, 0, payload.byteLength, undefined, -1, -1);
  return builder.seal({ ...channel, epoch: 0, sequence }, checksum).slice();
};

interface Stored {
  readonly folder: string;
  readonly ids: readonly [damaged: number, sound: number];
  /** History files of the first stream, oldest first. */
  readonly files: string[];
}

async function stored(): Promise<Stored> {
  const folder = newFolder();
  const log = await openLog(folder);
  const { id: one } = await log.open("stream/in/0", "stream");
  const { id: other } = await log.open("stream/other/0", "stream");
  for (let at = 0; at < records; at++) await log.append([event(log, one), event(log, other)]);
  const history = join(folder, "history", String(one));
  const names = (): string[] =>
    existsSync(history) ? readdirSync(history).filter((name) => /\.hist$/.test(name)) : [];
  await expect.poll(() => names().length, { timeout: 30_000 }).toBeGreaterThan(3);
  await log.close();
  const files = names()
    .sort()
    .map((name) => join(history, name));
  return { folder, ids: [one, other], files };
}

async function sequencesFrom(log: EmbeddedLog, logId: number, from: number): Promise<number[]> {
  const sequences: number[] = [];
  const end = log.endSequence({ logId, writer: 0 });
  for (let at = from; at < end; ) {
    for (const block of await log.read({ logId, writer: 0 }, at, 4096)) {
      const header = readBlockHeader(block);
      for (let index = 0; index < header.recordCount; index++)
        if (header.sequence + index >= at) sequences.push(header.sequence + index);
      at = header.sequence + header.recordCount;
    }
  }
  return sequences;
}
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);
const flip = (file: string, fromEnd: number): void => {
  const bytes = readFileSync(file);
  bytes[bytes.byteLength - fromEnd] ^= 1;
  writeFileSync(file, bytes);
};

/** Damage that leaves the file's index unreadable. */
const damages: Record<string, (files: string[]) => void> = {
  "footer flipped": ([, second = ""]) => flip(second, 30),
  "trailer flipped": ([, second = ""]) => flip(second, 2),
  "cut off": ([, second = ""]) => truncateSync(second, 100),
  empty: ([, second = ""]) => truncateSync(second, 0),
  missing: ([, second = ""]) => rmSync(second),
  "missing from the beginning": ([first = ""]) => rmSync(first),
  "swapped with the next": ([, second = "", third = ""]) => {
    renameSync(second, `${second}.aside`);
    renameSync(third, second);
    renameSync(`${second}.aside`, third);
  },
};

test.each(Object.entries(damages))(
  "S9: a history file %s stops its log alone, which is named",
  async (_name, damage) => {
    const { folder, ids, files } = await stored();
    const [one, other] = ids;
    damage([...files]);
    const log = await openLog(folder);
    expect(await sequencesFrom(log, other, 0)).toEqual(numbers(0, records));
    const refusal = { code: "HR_BLOCK_CORRUPT", message: expect.stringContaining(join("history", String(one))) };
    await expect(sequencesFrom(log, one, 0)).rejects.toMatchObject(refusal);
    // Not read is not expired: nobody may take it for what retention has removed.
    expect(log.channels(one)).toMatchObject([{ startSequence: 0, endSequence: records }]);
    // What stands behind can be read, and both streams go on.
    const last = await sequencesFrom(log, one, records - 1);
    expect(last).toEqual([records - 1]);
    await log.append([event(log, one), event(log, other)]);
    expect(await sequencesFrom(log, one, records)).toEqual([records]);
    await log.close();
    // And a start says the same again, with all files still there that were.
    const again = await openLog(folder);
    await expect(sequencesFrom(again, one, 0)).rejects.toMatchObject(refusal);
    expect(await sequencesFrom(again, other, 0)).toEqual(numbers(0, records + 1));
    await again.close();
  },
);

test("S9: a block of a history file that is damaged stops whoever reads it, and names the byte", async () => {
  const { folder, ids, files } = await stored();
  const bytes = readFileSync(files[1] as string);
  bytes[20] ^= 1;
  writeFileSync(files[1] as string, bytes);
  const log = await openLog(folder);
  await expect(sequencesFrom(log, ids[0], 0)).rejects.toThrow(/\.hist is damaged at byte 8/);
  expect(await sequencesFrom(log, ids[1], 0)).toEqual(numbers(0, records));
  await log.close();
});

test("P6: damage in the catalogue stops everything: no log can be told from another", async () => {
  const { folder } = await stored();
  const [name = ""] = readdirSync(join(folder, "history", "0"));
  truncateSync(join(folder, "history", "0", name), 50);
  await expect(openLog(folder)).rejects.toMatchObject({ code: "HR_BLOCK_CORRUPT" });
});

test("P6: a task whose input is damaged stops with the reason and is not started again; a task of the other stream goes on", async () => {
  const { folder, files } = await stored();
  damages["footer flipped"]?.([...files]);
  const log = await openLog(folder);
  const leases = await EmbeddedLeases.open(log, "n", () => 1000);
  const failures: unknown[] = [];
  const driverOf = (name: string, inputLog: string): TaskDriver =>
    new TaskDriver({
      log,
      leases,
      plan: { ...countingPlan, name, outputs: [`out-${name.slice(0, 1)}`] },
      inputLogs: [inputLog],
      snapshots: new Snapshots(log, join(folder, "snapshots")),
      early: true,
      onCommitted: () => undefined,
      onFailed: (error) => failures.push(error),
    });
  const start = async (driver: TaskDriver): Promise<DrivenTask> => {
    const port = new DrivenTask();
    port.driver = driver;
    await driver.start(port);
    return port;
  };
  const damaged = driverOf("a/0", "stream/in/0");
  const sound = driverOf("b/0", "stream/other/0");
  await start(damaged);
  const running = await start(sound);
  await expect.poll(() => damaged.state).toBe("failed");
  expect(damaged.failure).toMatchObject({ code: "HR_BLOCK_CORRUPT", message: expect.stringContaining(".hist") });
  await expect.poll(() => running.task?.processed).toBe(records);
  await running.commit(running.take());
  expect(sound).toMatchObject({ state: "running", lagEvents: 0 });
  expect(failures).toEqual([]);
  await log.close();
});
