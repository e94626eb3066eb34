/**
 * Goal (P2): timers survive downtime and a wrong clock: each fires once, in the order of their times, in bounded steps, whatever crashes in between.
 * Method: a journal with many timers is recovered; the task is advanced, commits now and then, and is recovered again from what it has committed.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { taskHost } from "../../test/task-host.ts";
import { CommitBuilder } from "./commit-builder.ts";
import type { TaskSpec } from "./spec.ts";
import { Task } from "./task.ts";

const journalLogId = 4;
const stepMax = 1000;

/** A task that notes which timers fire, over crashes: what was not committed is taken back. */
class Timed {
  readonly fired: { key: string; dueMs: number }[] = [];
  readonly #journal: Uint8Array[];
  readonly #spec: TaskSpec;
  #task!: Task;
  #next: number;
  #committed = 0;

  constructor(timers: readonly { readonly key: string; readonly dueMs: number }[]) {
    this.#spec = {
      name: "f/0",
      functionName: "f",
      partition: 0,
      partitions: 1,
      inputs: [],
      outputs: [],
      effectsLogId: 6,
      journalLogId,
      concurrency: 1,
      asynchronous: false,
      initialState: () => ({}),
      onEvent: () => undefined,
      onTimer: (_name, dueMs, { key }) => {
        this.fired.push({ key, dueMs });
      },
    };
    const builder = new CommitBuilder(
      this.#spec,
      taskHost(1, () => 1),
      new Map(),
    );
    const meta = { timeMs: 1, processed: 0, nextTimerMs: 0, failed: 0 };
    const named = timers.map((timer) => ({ ...timer, name: "t" }));
    this.#journal = builder.build({ outputs: [], effects: [], positions: [], state: [], timers: named, meta });
    this.#next = this.#journal.length;
    this.crash();
  }

  crash(): void {
    this.fired.length = this.#committed;
    this.#task = new Task(
      this.#spec,
      taskHost(2, () => 1),
    );
    for (const block of this.#journal) this.#task.restore(block);
    this.#task.begin(new Map([[journalLogId, this.#next]]));
  }
  commit(): void {
    const commit = this.#task.takeCommit();
    if (!commit) return;
    this.#journal.push(...commit.blocks);
    this.#next = commit.journalSequence + 1;
    this.#committed = this.fired.length;
  }
  /** One step; true when more is due. */
  advance(nowMs: number): boolean {
    const before = this.fired.length;
    const more = this.#task.advance(nowMs, stepMax);
    expect(this.fired.length - before).toBeLessThanOrEqual(stepMax);
    return more;
  }
}

test("P15: 100,000 timers that are due at once after a downtime fire in bounded steps, by time, each once, over crashes", () => {
  const timers = Array.from({ length: 100_000 }, (_, at) => ({ key: `k${at}`, dueMs: 1 + ((at * 7919) % 50_000) }));
  const timed = new Timed(timers);
  let steps = 0;
  for (let more = true; more; ) {
    more = timed.advance(1_000_000);
    steps += 1;
    expect(steps, "timers that have fired are due again").toBeLessThan(300);
    if (steps % 3 === 0) timed.commit();
    if (steps % 40 === 0) {
      timed.crash();
      more = true;
    }
  }
  timed.commit();
  timed.crash();
  expect(timed.advance(2_000_000)).toBe(false);
  expect(timed.fired).toHaveLength(timers.length);
  expect(new Set(timed.fired.map(({ key }) => key)).size).toBe(timers.length);
  expect(timed.fired.every(({ dueMs }, at) => at === 0 || timed.fired[at - 1].dueMs <= dueMs)).toBe(true);
  expect(steps).toBeGreaterThanOrEqual(timers.length / stepMax);
});

test("P14: a clock that jumps an hour ahead and back fires every timer once, and none before its time by the clock", () => {
  const jump = fc.record({
    nowMs: fc.integer({ min: 0, max: 7_200_000 }),
    after: fc.constantFrom("commit", "crash", "go on"),
  });
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 3_600_000 }), { maxLength: 40 }),
      fc.array(jump, { maxLength: 20 }),
      (dues, jumps) => {
        const timed = new Timed(dues.map((dueMs, at) => ({ key: `k${at}`, dueMs })));
        let latestMs = 0;
        for (const { nowMs, after } of jumps) {
          latestMs = Math.max(latestMs, nowMs);
          while (timed.advance(nowMs));
          for (const { dueMs } of timed.fired) expect(dueMs).toBeLessThanOrEqual(latestMs);
          if (after === "commit") timed.commit();
          if (after === "crash") timed.crash();
        }
        while (timed.advance(7_200_000));
        expect(timed.fired.map(({ key }) => key).sort()).toEqual(dues.map((_, at) => `k${at}`).sort());
      },
    ),
  );
});
