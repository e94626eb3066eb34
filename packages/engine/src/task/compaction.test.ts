/**
 * Goal: a snapshot folded from base and journal holds what replaying the journal gives (state with its order of touching, timers with their
 * order, positions, counters), however often it is folded on the way. Method: journals of a builder, and both ways compared.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { taskHost } from "../../test/task-host.ts";
import { crc32c } from "../block/crc32c.ts";
import { blockBytesMax, blockKind, readBlockHeader } from "../block/header.ts";
import { CommitBuilder, type CommitContent } from "./commit-builder.ts";
import { decodeCommit } from "./commit-format.ts";
import { Compaction } from "./compaction.ts";
import { Task } from "./task.ts";

const spec = {
  name: "f/0",
  functionName: "f",
  partition: 0,
  partitions: 1,
  inputs: [],
  outputs: [],
  effectsLogId: 6,
  journalLogId: 4,
  concurrency: 1,
  asynchronous: false,
  stateLimits: { ttlMs: 1000 },
  onEvent: () => undefined,
};
const host = taskHost(1, () => 1);

/** Everything that a recovered task holds; expiring all keys tells the order in which they were touched. */
const contentOf = (blocks: readonly Uint8Array[]): unknown => {
  const task = new Task(spec, host);
  for (const block of blocks) task.restore(block);
  const state = [...task.state.entries()].sort((a, b) => (a.key < b.key ? -1 : 1));
  const { processed, failed } = task;
  const touched: unknown[] = [];
  const [timers, positions] = [task.timers.all(), task.positions.all()];
  for (let at = task.state.nextExpiryMs; at !== undefined; at = task.state.nextExpiryMs) {
    task.state.expireNext(Number.MAX_SAFE_INTEGER);
    touched.push(at, ...task.state.takeDirty(0).map(({ key }) => key));
  }
  return {
    state,
    timers: timers.map(({ key, name, dueMs }) => [key, name, dueMs]),
    positions,
    processed,
    failed,
    touched,
  };
};

const key = fc.constantFrom("a", "b", "c", "d", "ä€", "e".repeat(60));
const commit = fc.record({
  state: fc.array(fc.record({ key, bytes: fc.option(fc.uint8Array({ maxLength: 8 }), { nil: undefined }) }), {
    maxLength: 6,
  }),
  timers: fc.array(
    fc.record({ key, name: fc.constantFrom("x", "y"), dueMs: fc.option(fc.nat(5), { nil: undefined }) }),
    { maxLength: 4 },
  ),
  positions: fc.array(
    fc.record({ logId: fc.nat(2), writer: fc.nat(1), low: fc.nat(99), runs: fc.constant<[number, number][]>([]) }),
    { maxLength: 2 },
  ),
  timeMs: fc.integer({ min: 1, max: 50 }),
});

test("folding at any commits equals replaying all of them", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(commit, fc.boolean()), { minLength: 1, maxLength: 12 }), (steps) => {
      const builder = new CommitBuilder(spec, host, new Map());
      const journal: Uint8Array[] = [];
      let base: Uint8Array[] = [];
      let from = 0;
      for (const [index, [{ timeMs, ...content }, fold]] of steps.entries()) {
        const meta = { timeMs, processed: index, nextTimerMs: 0, failed: index % 3 };
        journal.push(...builder.build({ ...content, outputs: [], effects: [], meta }));
        if (!fold) continue;
        const compaction = new Compaction();
        for (const block of journal.slice(from)) compaction.add(block);
        base = [...compaction.fold(base, crc32c)];
        from = journal.length;
        expect(readBlockHeader(base[0])).toMatchObject({ kind: blockKind.snapshot, sequence: from - 1 });
      }
      expect(contentOf([...base, ...journal.slice(from)])).toEqual(contentOf(journal));
    }),
  );
});

test("large values, many keys and many timers become blocks within the limit, the end in the last", () => {
  const builder = new CommitBuilder(spec, host, new Map());
  const wide = Array.from({ length: 6 }, (_, index) => ({ key: `w${index}`, bytes: new Uint8Array(380_000) }));
  const small = Array.from({ length: 30_000 }, (_, index) => ({ key: `k${index}`, bytes: new Uint8Array(3) }));
  const timers = Array.from({ length: 30_000 }, (_, index) => ({ key: `k${index}`, name: "t", dueMs: index }));
  const compaction = new Compaction();
  const commits: Pick<CommitContent, "state" | "timers">[] = [
    { state: wide, timers: [] },
    { state: small, timers },
  ];
  for (const content of commits) {
    const meta = { timeMs: 5, processed: 1, nextTimerMs: 0, failed: 0 };
    for (const block of builder.build({ ...content, positions: [], outputs: [], effects: [], meta }))
      compaction.add(block);
  }
  const blocks = [...compaction.fold([], crc32c)];
  for (const block of blocks) expect(block.byteLength).toBeLessThanOrEqual(blockBytesMax);
  expect(compaction.content).toMatchObject({ keys: 30_006, blocks: blocks.length });
  const ends = blocks.map((block) => decodeCommit(block).meta.timeMs);
  expect(ends).toEqual([...blocks.slice(1).map(() => 0), 5]);
});
