/** A function worker: hosts the tasks of one function, or of all declarative operators, of one release. */
import { parentPort, workerData } from "node:worker_threads";
import {
  functionHandlers,
  isAsyncHandler,
  type PreparedCommit,
  Task,
  type TaskHandlers,
  type TaskHost,
  tumblingHandlers,
} from "@headrace/engine";
import type { AppDefinition } from "@headrace/sdk";
import { checksum } from "../log/index.ts";
import { blockText } from "./block-text.ts";
import { importApp } from "./import-app.ts";
import type { FromWorker, TaskStart, ToWorker } from "./messages.ts";
import { TaskRunner } from "./task-runner.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");
const port = parentPort;
const definition = await importApp((workerData as { bundleUrl: string }).bundleUrl);
const runners = new Map<string, TaskRunner>();
/** Tasks that are being recovered. */
const starting = new Map<string, TaskStart>();

const post = (message: FromWorker, transfer: ArrayBufferLike[] = []): void =>
  port.postMessage(message, transfer as ArrayBuffer[]);

const handlersOf = (
  app: AppDefinition,
  { plan }: TaskStart,
): { handlers: TaskHandlers; asynchronous: boolean; concurrency: number } => {
  if (plan.kind === "function") {
    const found = app.functions.find((candidate) => candidate.name === plan.functionName);
    if (!found) throw new Error(`the release has no function "${plan.functionName}"`);
    const handlers = functionHandlers(found, (entry) => post({ kind: "log", ...entry }));
    return { handlers, asynchronous: isAsyncHandler(found), concurrency: found.concurrency };
  }
  if (plan.kind === "window") {
    const found = app.windows.find((candidate) => candidate.name === plan.functionName);
    if (!found) throw new Error(`the release has no window "${plan.functionName}"`);
    return { handlers: tumblingHandlers(found), asynchronous: false, concurrency: 1 };
  }
  return { handlers: { onEvent: () => undefined }, asynchronous: false, concurrency: 1 };
};

const positionsOf = (task: Task): [number, number, number][] =>
  task.positions.all().map(({ logId, writer, low }) => [logId, writer, low]);

const start = (from: TaskStart): void => {
  const { plan } = from;
  const stream = definition.streams.find((candidate) => candidate.name === plan.stream);
  if (!stream) throw new Error(`the release has no stream "${plan.stream}"`);
  const { handlers, asynchronous, concurrency } = handlersOf(definition, from);
  const host: TaskHost = { nowMs: Date.now, checksum, text: blockText(), epoch: from.epoch };
  const task = new Task(
    {
      ...handlers,
      ...plan,
      inputs: [{ stream, logIds: from.inputLogIds, decode: true, reportsRejected: plan.reportsRejected }],
      outputs: from.outputLogIds.map(([name, logId]) => ({ stream: name, logId })),
      effectsLogId: from.effectsLogId,
      journalLogId: from.journalLogId,
      asynchronous,
      concurrency,
    },
    host,
  );
  const runner = new TaskRunner(task, () => 0, {
    commit: (commit: PreparedCommit, urgent) =>
      post(
        {
          kind: "commit",
          task: plan.name,
          ...commit,
          positions: positionsOf(task),
          latestArrivalMs: runner.latestArrivalMs,
          keys: task.state.size,
          stateBytes: task.state.byteLength,
          urgent,
        },
        commit.blocks.map((block) => block.buffer),
      ),
    delivered: (byteLength) => post({ kind: "delivered", task: plan.name, byteLength }),
  });
  runners.set(plan.name, runner);
  starting.set(plan.name, from);
};

/** What was stored has been restored: the task stands where it goes on. */
const begin = (name: string): void => {
  const runner = runners.get(name);
  const from = starting.get(name);
  starting.delete(name);
  if (!runner || !from) return;
  const { task } = runner;
  if (from.isNew) {
    for (const [logId, writer, sequence] of from.startAt) task.positions.channel(logId, writer).low = sequence;
    // The place where a task begins is committed before its first event, or a crash would move it.
    task.noteMoved();
  }
  task.begin(new Map(from.ends));
  post({
    kind: "ready",
    task: name,
    positions: positionsOf(task),
    meta: { timeMs: 0, processed: task.processed, failed: task.failed, nextTimerMs: task.nextDueMs ?? 0 },
    keys: task.state.size,
    stateBytes: task.state.byteLength,
  });
  if (from.isNew) runner.advance(0);
};

port.on("message", (message: ToWorker) => {
  switch (message.kind) {
    case "start":
      return start(message.task);
    case "restore":
      for (const block of message.blocks) runners.get(message.task)?.task.restore(block);
      return;
    case "begin":
      return begin(message.task);
    case "block":
      return runners.get(message.task)?.deliver(message.block);
    case "advance":
      return runners.get(message.task)?.advance(message.nowMs);
    case "committed":
      return runners.get(message.task)?.committed();
    case "skip":
      return runners.get(message.task)?.skip(message.logId, message.writer, message.fromSequence, message.toSequence);
    case "stop":
      void Promise.all([...runners.values()].map((runner) => runner.drain())).then(() => post({ kind: "stopped" }));
      return;
    default:
      throw new Error(`unknown message ${JSON.stringify(message satisfies never)}`);
  }
});
post({ kind: "loaded" });
