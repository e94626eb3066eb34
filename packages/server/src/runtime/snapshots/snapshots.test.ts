/**
 * Goal: S13, S14, S15 (files as a crash leaves them), S16, S17. Method: a task's journal in a real log, snapshots made by the real
 * compaction in the real thread, files that are damaged, cut and removed, and the state of a recovered task compared by its hash.
 */
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventBlockBuilder, InternedString, Task } from "@headrace/engine";
import { MemoryLog } from "@headrace/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checksum, EmbeddedLog } from "../../log/index.ts";
import { blockText } from "../block-text.ts";
import { chooseBase, journalBatches } from "./choose-base.ts";
import { compactSnapshot } from "./compact.ts";
import { Snapshots } from "./snapshots.ts";
import { SnapshotStore } from "./store.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headrace-snapshots-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const journalLogId = 3;
const journal = { logId: journalLogId, writer: journalLogId };

/** A task over a log in memory that commits after every block. */
const newTask = (): Task =>
  new Task(
    {
      name: "f/0",
      functionName: "f",
      partition: 0,
      partitions: 1,
      inputs: [
        {
          stream: {
            name: "in",
            sources: [],
            partitions: 1,
            retain: {},
            kind: "source",
            system: false,
            columns: [],
            table: false,
          },
          logIds: [1],
          decode: true,
          reportsRejected: false,
        },
      ],
      outputs: [],
      effectsLogId: 2,
      journalLogId,
      concurrency: 1,
      asynchronous: false,
      initialState: () => ({ n: 0, trail: "" }),
      onEvent: (event, invocation) => {
        const state = invocation.state as { n: number; trail: string };
        state.n += 1;
        state.trail = `${state.trail}${String((event.value as { n: number }).n)},`.slice(-200);
        if (state.n % 5 === 0) invocation.setTimer("t", state.n);
        if (state.n % 7 === 0) invocation.state = undefined;
      },
    },
    { nowMs: () => 1000, checksum, text: blockText(), epoch: 1 },
  );

const hashOf = (task: Task): number => {
  const content = {
    state: [...task.state.entries()]
      .map(({ key, bytes }) => [key, Buffer.from(bytes).toString("hex")])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
    timers: task.timers.all().map(({ key, name, dueMs }) => [key, name, dueMs]),
    positions: task.positions.all(),
    counters: [task.processed, task.failed],
  };
  return checksum(Buffer.from(JSON.stringify(content)));
};

class Journal {
  readonly log = new MemoryLog();
  readonly task = newTask();
  #sequence = 0;
  readonly #builder = new EventBlockBuilder();
  /** Hash of the state behind each commit. */
  readonly hashes: number[] = [];

  constructor() {
    for (const [name, role] of [
      ["stream/in/0", "stream"],
      ["effects/0", "effects"],
      ["journal/f/0", "journal"],
    ] as const)
      this.log.openNow(name, role);
    this.task.begin(new Map());
  }

  commits(count: number): void {
    for (let commit = 0; commit < count; commit++) {
      this.#builder.reset();
      for (let index = 0; index < 5; index++) {
        const key = new InternedString(`k${(this.#sequence + index * index) % 13}`);
        const payload = Buffer.from(JSON.stringify({ n: this.#sequence + index }));
        this.#builder.append(key, key, key, 1, 1000, payload, 0, payload.byteLength);
      }
      const place = { logId: 1, writer: 0, epoch: 1, sequence: this.#sequence };
      this.task.deliver(0, this.#builder.seal(place, checksum).slice());
      this.#sequence += 5;
      const taken = this.task.takeCommit();
      this.log.appendNow(taken?.blocks ?? []);
      this.hashes.push(hashOf(this.task));
    }
  }
  get last(): number {
    return this.hashes.length - 1;
  }
  async snapshot(): Promise<number | undefined> {
    const { header, baseSequence } = await compactSnapshot({ folder, journalLogId, toSequence: this.last }, this.log);
    expect(header).toMatchObject({
      sequence: this.last,
      keys: this.task.state.size,
      stateBytes: this.task.state.byteLength,
    });
    return baseSequence;
  }
  async recovered(): Promise<Task> {
    const { snapshot, journalFrom } = await chooseBase(folder, "f/0", journal, this.log);
    const task = newTask();
    const behind = this.log.readNow(journal, journalFrom, Number.POSITIVE_INFINITY);
    for (const block of [...(snapshot?.blocks ?? []), ...behind]) task.restore(block);
    return task;
  }
}

const flip = (path: string, at: number): void => {
  const bytes = readFileSync(path);
  bytes[at] ^= 0x40;
  writeFileSync(path, bytes);
};
const refusedWith = (code: string, text: RegExp): unknown =>
  expect.objectContaining({ code, message: expect.stringMatching(text) });

test("the task goes on: a snapshot is made of base and journal, and only two files are kept", async () => {
  const run = new Journal();
  run.commits(4);
  expect(await run.snapshot()).toBeUndefined();
  run.commits(3);
  expect(await run.snapshot()).toBe(3);
  run.commits(9);
  expect(await run.snapshot()).toBe(6);
  run.commits(1);
  expect(new SnapshotStore(folder).list()).toEqual([15, 6]);
  expect(hashOf(await run.recovered())).toBe(run.hashes[16]);
});

test("S13: any byte of the newest snapshot damaged, or any part cut: the older one and the journal give the same state", async () => {
  const run = new Journal();
  run.commits(5);
  await run.snapshot();
  run.commits(5);
  const base = await run.snapshot();
  run.log.trim(journal, base ?? 0);
  run.commits(2);
  const newest = new SnapshotStore(folder).file(9);
  const sound = readFileSync(newest);
  const found = async (bytes: Uint8Array): Promise<number> => {
    writeFileSync(newest, bytes);
    const { damaged } = await chooseBase(folder, "f/0", journal, run.log);
    expect(damaged.map(({ sequence }) => sequence)).toEqual([9]);
    return hashOf(await run.recovered());
  };
  for (let at = 0; at < sound.byteLength; at += 3) {
    const bytes = Uint8Array.from(sound);
    bytes[at] ^= 1 << (at % 8);
    expect(await found(bytes), `byte ${at}`).toBe(run.hashes[11]);
  }
  for (let end = 0; end < sound.byteLength; end += 8) expect(await found(sound.subarray(0, end))).toBe(run.hashes[11]);
  writeFileSync(newest, sound);
  expect(hashOf(await run.recovered())).toBe(run.hashes[11]);
});

describe("S14: both snapshots damaged", () => {
  const damageBoth = (): void => {
    for (const sequence of new SnapshotStore(folder).list()) flip(new SnapshotStore(folder).file(sequence), 70);
  };
  test("rebuilt from the journal while it reaches back to the beginning", async () => {
    const run = new Journal();
    run.commits(3);
    await run.snapshot();
    run.commits(3);
    await run.snapshot();
    damageBoth();
    expect(hashOf(await run.recovered())).toBe(run.hashes[5]);
    // And the next snapshot is made from there.
    run.commits(1);
    expect(await run.snapshot()).toBeUndefined();
    expect(hashOf(await run.recovered())).toBe(run.hashes[6]);
  });

  test("stops with the reason when the journal does not", async () => {
    const run = new Journal();
    run.commits(3);
    await run.snapshot();
    run.commits(3);
    run.log.trim(journal, (await run.snapshot()) ?? 0);
    damageBoth();
    await expect(run.recovered()).rejects.toEqual(
      refusedWith("HR_SNAPSHOT_CORRUPT", /f\/0 has no snapshot.*kept from 2 on.*0005\.snap.*0002\.snap/),
    );
    rmSync(folder, { recursive: true });
    await expect(run.recovered()).rejects.toEqual(refusedWith("HR_SNAPSHOT_CORRUPT", /there is none/));
  });
});

test("S15: what a crash leaves at each step of writing is the old or the new snapshot", async () => {
  const run = new Journal();
  run.commits(4);
  await run.snapshot();
  run.commits(4);
  const store = new SnapshotStore(folder);
  await run.snapshot();
  const [newest, older] = store.list().map((sequence) => readFileSync(store.file(sequence)));
  const temporary = `${store.file(7)}.tmp`;
  // Before the rename: any beginning of the temporary file beside the old one.
  rmSync(store.file(7));
  for (const end of [0, 1, 64, newest.byteLength - 8, newest.byteLength]) {
    writeFileSync(temporary, newest.subarray(0, end));
    expect(store.list()).toEqual([3]);
    expect(hashOf(await run.recovered())).toBe(run.hashes[7]);
  }
  // Behind the rename, before the old ones went.
  copyFileSync(temporary, store.file(7));
  expect(hashOf(await run.recovered())).toBe(run.hashes[7]);
  expect(readFileSync(store.file(3)).equals(older)).toBe(true);
  // The next snapshot removes what was left behind.
  run.commits(2);
  await run.snapshot();
  expect(existsSync(temporary)).toBe(false);
  expect(readdirSync(folder)).toHaveLength(2);
});

test("S14: a journal with a gap behind the snapshot stops the task: nothing is left out of a state", async () => {
  const run = new Journal();
  run.commits(8);
  const without = (missing: number) => ({
    read: async (_channel: unknown, from: number) =>
      run.log.readNow(journal, from, 700).filter((_block, index) => from + index !== missing),
  });
  const count = async (log: ReturnType<typeof without>): Promise<number> => {
    let blocks = 0;
    for await (const batch of journalBatches("f/0", journal, 0, 8, log)) blocks += batch.length;
    return blocks;
  };
  expect(await count(without(99))).toBe(8);
  for (let missing = 0; missing < 8; missing++) {
    await expect(count(without(missing))).rejects.toEqual(
      refusedWith("HR_SNAPSHOT_CORRUPT", new RegExp(`commit ${missing} of its journal is missing`)),
    );
  }
});

test("S16: a journal that ends before the snapshot is refused, also when an older snapshot would fit", async () => {
  const run = new Journal();
  run.commits(4);
  await run.snapshot();
  run.commits(4);
  await run.snapshot();
  const shorter = new Journal();
  shorter.commits(6);
  await expect(chooseBase(folder, "f/0", journal, shorter.log)).rejects.toEqual(
    refusedWith("HR_SNAPSHOT_MISMATCH", /the log went backwards: the snapshot holds commit 7, the journal ends at 6/),
  );
});

test("S17: the same sequence with another content is refused", async () => {
  const run = new Journal();
  run.commits(4);
  await run.snapshot();
  const other = new Journal();
  other.task.processed = 1;
  other.commits(6);
  await expect(chooseBase(folder, "f/0", journal, other.log)).rejects.toEqual(
    refusedWith("HR_SNAPSHOT_MISMATCH", /commit 3 of the journal is another one/),
  );
});

test("the thread reads the journal through the log and makes snapshots one after the other", async () => {
  const run = new Journal();
  const data = join(folder, "data");
  const fatal: unknown[] = [];
  const log = await EmbeddedLog.open({ folder: data, onFatal: (error) => fatal.push(error) });
  try {
    // Log ids are given in the order of opening, as in the log of the other tests.
    for (const name of ["stream/in/0", "effects/0"]) await log.open(name, "stream");
    expect(await log.open("journal/f/0", "journal")).toMatchObject({ id: journalLogId });
    const snapshots = new Snapshots(log, folder);
    const target = join(folder, "f", "0");
    for (let round = 0; round < 3; round++) {
      const from = run.hashes.length;
      run.commits(10);
      for (const block of run.log.readNow(journal, from, Number.POSITIVE_INFINITY)) await log.append([block]);
      const { header } = await snapshots.compact({ folder: target, journalLogId, toSequence: run.last });
      expect(header).toMatchObject({ sequence: run.last, keys: run.task.state.size });
    }
    // A request that comes too late changes nothing.
    await snapshots.compact({ folder: target, journalLogId, toSequence: 12 });
    expect(new SnapshotStore(target).list()).toEqual([29, 19]);
    const { snapshot } = await chooseBase(target, "f/0", journal, log);
    const task = newTask();
    for (const block of snapshot?.blocks ?? []) task.restore(block);
    expect(hashOf(task)).toBe(run.hashes[29]);
    await snapshots.close();
    expect(fatal).toEqual([]);
  } finally {
    await log.close();
  }
});
