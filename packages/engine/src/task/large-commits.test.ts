/**
 * Goal: what one commit holds is bounded whatever the handlers put out, and each event still counts once: P2 and P9 for outputs and states far
 * beyond a block. Method: a task over a log in memory, lost and recovered between its commits.
 */
import { systemStreams } from "@headrace/sdk";
import { describe, expect, test } from "vitest";
import { sourceStream, TaskBench } from "../../test/task-host.ts";
import { blockBytesMax } from "../block/header.ts";
import { commitBytesMax, invocationBytesMax } from "./ledger.ts";
import type { TaskHandlers } from "./spec.ts";

const bench = (handlers: TaskHandlers, asynchronous = false): TaskBench =>
  new TaskBench(["out", systemStreams.rejected, systemStreams.deadLetters], (inputId) => ({
    partition: 0,
    partitions: 1,
    inputs: [{ stream: sourceStream("in"), logIds: [inputId], decode: true, reportsRejected: false }],
    concurrency: 4,
    asynchronous,
    ...handlers,
  }));

const text = "x".repeat(250_000);
/** Two megabytes an event, in order. */
const emitsMuch: TaskHandlers = {
  initialState: () => ({ n: 0 }),
  onEvent: (event, invocation) => {
    const state = invocation.state as { n: number };
    state.n += 1;
    for (let part = 0; part < 8; part++)
      invocation.emit("out", { id: (event.value as { id: number }).id, n: state.n, part, text });
  },
};
const events = Array.from({ length: 23 }, (_, id) => ({ key: `k${id % 3}`, value: { id } }));

/** Commits and delivers until all is done; `lose` says before which commits the task is lost. */
const workOff = (run: TaskBench, lose: ReadonlySet<number>): number[] => {
  const sizes: number[] = [];
  for (let turn = 0; ; turn++) {
    if (lose.has(turn)) {
      run.task.takeCommit();
      run.recover();
    }
    const [block] = run.log.blocksOf(run.inputId);
    const isDone = run.task.deliver(0, block);
    const commit = run.task.takeCommit();
    if (commit) {
      for (const { byteLength } of commit.blocks) expect(byteLength).toBeLessThanOrEqual(blockBytesMax);
      sizes.push(commit.blocks.reduce((sum, block) => sum + block.byteLength, 0));
      run.log.appendNow(commit.blocks);
    }
    if (isDone) return sizes;
  }
};

describe("two megabytes of outputs an event", () => {
  for (const lose of [[], [0], [1, 2], [0, 1, 2, 3, 4, 5]]) {
    test(`are committed in groups of bounded size, the task lost before commits ${lose.join(", ") || "none"}`, () => {
      const run = bench(emitsMuch);
      run.store(run.inputId, events);
      const sizes = workOff(run, new Set(lose));
      expect(sizes.length).toBeGreaterThan(3);
      for (const size of sizes) expect(size).toBeLessThan(commitBytesMax + invocationBytesMax);
      expect(run.output("out").map(({ value: { id, part } }) => [id, part])).toEqual(
        events.flatMap(({ value: { id } }) => Array.from({ length: 8 }, (_, part) => [id, part])),
      );
      const found = run.recover();
      expect(found.processed).toBe(23);
      expect(["k0", "k1", "k2"].map((key) => found.state.peek(key))).toEqual([{ n: 8 }, { n: 8 }, { n: 7 }]);
    });
  }
});

test("an event that fails in the middle of a full batch is the only one that fails", () => {
  const run = bench({
    ...emitsMuch,
    onEvent: (event, invocation) => {
      emitsMuch.onEvent(event, invocation, 0);
      if ((event.value as { id: number }).id === 11) throw new Error("eleven");
    },
  });
  run.store(run.inputId, events);
  workOff(run, new Set([2]));
  expect(run.output("out")).toHaveLength(22 * 8);
  expect(run.output(systemStreams.deadLetters)).toHaveLength(1);
});

test("P9 an invocation that emits without end fails alone, whole", () => {
  const endless = (count: number, value: string): TaskHandlers => ({
    onEvent: (event, invocation) => {
      const { id } = event.value as { id: number };
      for (let part = 0; part < (id === 1 ? count : 1); part++) invocation.emit("out", { id, value });
    },
  });
  for (const handlers of [endless(1_000_000, ""), endless(1000, text)]) {
    const run = bench(handlers);
    run.send(...events.slice(0, 3));
    run.commit();
    expect(run.output("out").map(({ value }) => value.id)).toEqual([0, 2]);
    expect(run.output(systemStreams.deadLetters)).toMatchObject([
      { value: { error: { message: expect.stringContaining("10000 events and 8388608 bytes") } } },
    ]);
  }
});

test("large states of many keys are committed in groups of bounded size", () => {
  const run = bench({
    initialState: () => ({ n: 0, bytes: new Uint8Array(60_000) }),
    onEvent: (_event, invocation) => {
      (invocation.state as { n: number }).n += 1;
    },
  });
  const wide = Array.from({ length: 600 }, (_, id) => ({ key: `k${id}`, value: { id } }));
  run.store(run.inputId, wide);
  workOff(run, new Set());
  run.store(run.inputId, wide);
  const sizes: number[] = [];
  for (const block of run.log.blocksOf(run.inputId)) {
    for (let isDone = false; !isDone; ) {
      isDone = run.task.deliver(0, block);
      const commit = run.task.takeCommit();
      if (!commit) continue;
      sizes.push(commit.blocks.reduce((sum, { byteLength }) => sum + byteLength, 0));
      run.log.appendNow(commit.blocks);
    }
  }
  expect(sizes.length).toBeGreaterThan(3);
  for (const size of sizes) expect(size).toBeLessThan(2 * commitBytesMax);
  const found = run.recover();
  expect((found.state.peek("k599") as { n: number }).n).toBe(2);
  expect(found.processed).toBe(1200);
});

test("asynchronous invocations are not started while the commit is full", async () => {
  let running = 0;
  let started = 0;
  const run = bench(
    {
      onEvent: async (event, invocation) => {
        running++;
        started++;
        await Promise.resolve();
        await emitsMuch.onEvent(event, { ...invocation, state: { n: 0 }, emit: invocation.emit.bind(invocation) }, 0);
        running--;
      },
    },
    true,
  );
  run.send(...events.map((event, index) => ({ ...event, key: `k${index}` })));
  const taken: number[] = [];
  while (run.task.pendingEvents > 0) {
    await run.task.idle();
    expect(running).toBe(0);
    taken.push(started);
    run.commit();
  }
  run.commit();
  expect(taken.length).toBeGreaterThan(2);
  expect(run.output("out")).toHaveLength(23 * 8);
  expect(run.recover().processed).toBe(23);
});
