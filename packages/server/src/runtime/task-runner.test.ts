/** Goal: when commits are taken, and that an event which does not end bounds what is delivered behind it. Method: a real task with a handler that waits. */
import { EventBlockBuilder, InternedString, Task, windowEventsMax } from "@headrace/engine";
import type { StreamDefinition } from "@headrace/sdk";
import { expect, test } from "vitest";
import { checksum } from "../log/index.ts";
import { blockText } from "./block-text.ts";
import { TaskRunner } from "./task-runner.ts";

const stream: StreamDefinition = {
  name: "readings",
  sources: [{ kind: "mqtt", pattern: "d/:device" }],
  partitions: 1,
  retain: {},
  kind: "source",
  system: false,
  columns: [],
  table: false,
};

const start = (onEvent: (key: string) => unknown, concurrency = 64) => {
  const task = new Task(
    {
      name: "f/0",
      functionName: "f",
      partition: 0,
      partitions: 1,
      inputs: [{ stream, logIds: [1], decode: true, reportsRejected: false }],
      outputs: [],
      effectsLogId: 2,
      journalLogId: 3,
      concurrency,
      asynchronous: concurrency > 1,
      initialState: () => ({ n: 0 }),
      onEvent: (event, invocation) => {
        (invocation.state as { n: number }).n += 1;
        return onEvent(event.key);
      },
    },
    { nowMs: () => 1, checksum, text: blockText(), epoch: 1 },
  );
  task.begin(new Map());
  const commits: number[] = [];
  let delivered = 0;
  const runner: TaskRunner = new TaskRunner(task, () => 0, {
    commit: (commit) => {
      commits.push(commit.meta.processed);
      setImmediate(() => runner.committed());
    },
    delivered: () => {
      delivered++;
    },
  });
  let sequence = 0;
  const builder = new EventBlockBuilder(512 * 1024);
  const deliver = (keys: readonly string[]): void => {
    builder.reset();
    const payload = Buffer.from("{}");
    const topic = new InternedString("d/x");
    for (const text of keys) {
      const key = new InternedString(text);
      if (!builder.append(topic, key, key, 1, 1, payload, 0, payload.byteLength)) throw new Error("one block is meant");
    }
    const block = builder.seal({ logId: 1, writer: 0, epoch: 1, sequence }, checksum).slice();
    sequence += keys.length;
    runner.deliver(block);
  };
  return { task, runner, deliver, commits, delivered: () => delivered };
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("small groups that nobody waits for share a commit", async () => {
  const { deliver, commits } = start(() => undefined, 1);
  await pause(20);
  deliver(["a"]);
  const first = commits.length;
  for (let group = 0; group < 20; group++) {
    deliver(["a"]);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await pause(60);
  expect(commits.at(-1)).toBe(21);
  expect(commits.length - first).toBeLessThan(15);
});

test("commits are taken while input keeps coming in one turn", () => {
  const { deliver, commits } = start(() => {
    const until = performance.now() + 0.2;
    while (performance.now() < until);
  }, 1);
  for (let group = 0; group < 200; group++) deliver(["a"]);
  expect(commits.length).toBeGreaterThan(0);
});

test("an event that does not end bounds the window above it, and delivery goes on when it has ended", async () => {
  let release = (): void => undefined;
  const stuck = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { task, deliver, runner, delivered } = start((key) => (key === "stuck" ? stuck : Promise.resolve()));
  deliver(["stuck"]);
  const keys = Array.from({ length: 4000 }, (_, index) => `k${index % 500}`);
  const blocks = Math.ceil(windowEventsMax / keys.length) + 8;
  for (let block = 0; block < blocks; block++) {
    deliver(keys);
    await pause(0);
  }
  await pause(200);
  expect(delivered()).toBeLessThan(blocks + 1);
  expect(task.windowEvents).toBeLessThanOrEqual(windowEventsMax + keys.length);
  release();
  await runner.drain();
  expect(delivered()).toBe(blocks + 1);
  expect(task.processed).toBe(1 + blocks * keys.length);
});
