/** The tasks of one function, or of all declarative operators, of one release: what a function worker does with the messages of its host. */
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
import type { FromWorker, TaskStart, ToWorker } from "./messages.ts";
import { TaskRunner } from "./task-runner.ts";

type Post = (message: FromWorker, transfer?: ArrayBufferLike[]) => void;

const positionsOf = (task: Task): [number, number, number][] =>
  task.positions.all().map(({ logId, writer, low }) => [logId, writer, low]);

export class FunctionTasks {
  readonly #definition: AppDefinition;
  readonly #post: Post;
  readonly #runners = new Map<string, TaskRunner>();
  /** Tasks that are being recovered. */
  readonly #starting = new Map<string, TaskStart>();

  /** @param post takes messages for the host, with the buffers that are given away */
  constructor(definition: AppDefinition, post: Post) {
    this.#definition = definition;
    this.#post = post;
    post({ kind: "loaded" });
  }

  onMessage(message: ToWorker): void {
    const runners = this.#runners;
    switch (message.kind) {
      case "start":
        this.#start(message.task);
        break;
      case "restore":
        for (const block of message.blocks) runners.get(message.task)?.task.restore(block);
        break;
      case "begin":
        this.#begin(message.task);
        break;
      case "block":
        runners.get(message.task)?.deliver(message.block);
        break;
      case "advance":
        runners.get(message.task)?.advance(message.nowMs);
        break;
      case "committed":
        runners.get(message.task)?.committed();
        break;
      case "skip":
        runners.get(message.task)?.skip(message.logId, message.writer, message.fromSequence, message.toSequence);
        break;
      case "stop":
        void this.#drain();
        break;
      default:
        throw new Error(`unknown message ${JSON.stringify(message satisfies never)}`);
    }
  }

  /** Lets what is under way end and be committed. */
  async #drain(): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.drain()));
    this.#post({ kind: "stopped" });
  }

  #handlersOf({ plan }: TaskStart): { handlers: TaskHandlers; asynchronous: boolean; concurrency: number } {
    const app = this.#definition;
    if (plan.kind === "function") {
      const found = app.functions.find((candidate) => candidate.name === plan.functionName);
      if (!found) throw new Error(`the release has no function "${plan.functionName}"`);
      const handlers = functionHandlers(found, (entry) => this.#post({ kind: "log", ...entry }));
      return { handlers, asynchronous: isAsyncHandler(found), concurrency: found.concurrency };
    }
    if (plan.kind === "window") {
      const found = app.windows.find((candidate) => candidate.name === plan.functionName);
      if (!found) throw new Error(`the release has no window "${plan.functionName}"`);
      return { handlers: tumblingHandlers(found), asynchronous: false, concurrency: 1 };
    }
    return { handlers: { onEvent: () => undefined }, asynchronous: false, concurrency: 1 };
  }

  #start(from: TaskStart): void {
    const { plan } = from;
    const stream = this.#definition.streams.find((candidate) => candidate.name === plan.stream);
    if (!stream) throw new Error(`the release has no stream "${plan.stream}"`);
    const { handlers, asynchronous, concurrency } = this.#handlersOf(from);
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
        this.#post(
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
      delivered: (byteLength) => this.#post({ kind: "delivered", task: plan.name, byteLength }),
    });
    this.#runners.set(plan.name, runner);
    this.#starting.set(plan.name, from);
  }

  /** What was stored has been restored: the task stands where it goes on. */
  #begin(name: string): void {
    const runner = this.#runners.get(name);
    const from = this.#starting.get(name);
    this.#starting.delete(name);
    if (!runner || !from) return;
    const { task } = runner;
    if (from.isNew) {
      for (const [logId, writer, sequence] of from.startAt) task.positions.channel(logId, writer).low = sequence;
      // The place where a task begins is committed before its first event, or a crash would move it.
      task.noteMoved();
    }
    task.begin(new Map(from.ends));
    this.#post({
      kind: "ready",
      task: name,
      positions: positionsOf(task),
      meta: { timeMs: 0, processed: task.processed, failed: task.failed, nextTimerMs: task.nextDueMs ?? 0 },
      keys: task.state.size,
      stateBytes: task.state.byteLength,
    });
    if (from.isNew) runner.advance(0);
  }
}
