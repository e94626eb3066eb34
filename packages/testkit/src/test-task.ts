/** One task of an application under test: recovered from the memory log, fed from it, committing to it, all in one thread. */
import {
  type CommandEnded,
  crc32c,
  effectsLog,
  functionHandlers,
  inputLogs,
  isAsyncHandler,
  journalLog,
  type LogSink,
  outboxHandlers,
  outboxTask,
  type PlanOutline,
  readBlockHeader,
  roleOf,
  type SendCommand,
  streamLog,
  Task,
  type TaskHandlers,
  type TaskInput,
  type TaskPlan,
  tumblingHandlers,
} from "@headrace/engine";
import { type AppDefinition, HeadraceError, type StreamDefinition, systemStreams } from "@headrace/sdk";
import type { MemoryLog } from "./memory-log.ts";

const readBytes = 256 * 1024;
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What a task needs from the application under test. */
export interface TestTaskHost {
  readonly log: MemoryLog;
  readonly definition: AppDefinition;
  nowMs(): number;
}

/** How one task is made: its plan, its handlers, its inputs by log. */
export interface TestTaskMaker {
  readonly plan: TaskPlan;
  readonly handlers: TaskHandlers;
  readonly asynchronous: boolean;
  readonly concurrency: number;
  readonly inputs: readonly {
    readonly stream: StreamDefinition;
    readonly log: string;
    readonly reportsRejected: boolean;
    /** False: the handlers take the payload as it is. Default true. */
    readonly decode?: boolean;
  }[];
}

export class TestTask {
  readonly plan: TaskPlan;
  readonly task: Task;
  readonly #log: MemoryLog;
  readonly #inputIds: number[];
  /** Next sequence to hand over, by `logId/writer`. */
  readonly #cursors = new Map<string, number>();

  /** Recovers the task: its journal, then its input from the recorded position. */
  constructor({ log, nowMs }: TestTaskHost, { plan, handlers, asynchronous, concurrency, inputs }: TestTaskMaker) {
    this.plan = plan;
    this.#log = log;
    const idOf = (name: string): number => log.openNow(name, roleOf(name)).id;
    const journalLogId = idOf(journalLog(plan.name));
    this.#inputIds = inputs.map((input) => idOf(input.log));
    const outputs = plan.outputs.map((stream) => ({ stream, logId: idOf(streamLog(stream, 0)) }));
    const effectsLogId = idOf(effectsLog);
    const written = [...new Set([journalLogId, effectsLogId, ...outputs.map(({ logId }) => logId)])];
    const epoch = log.fenceNow({ logId: journalLogId, writer: journalLogId });
    for (const logId of written)
      while (logId !== journalLogId && log.fenceNow({ logId, writer: journalLogId }) < epoch);
    this.task = new Task(
      {
        ...handlers,
        ...plan,
        inputs: inputs.map(
          (input, index): TaskInput => ({
            stream: input.stream,
            logIds: [this.#inputIds[index]],
            decode: input.decode ?? true,
            reportsRejected: input.reportsRejected,
          }),
        ),
        outputs,
        effectsLogId,
        journalLogId,
        asynchronous,
        concurrency,
      },
      {
        nowMs,
        checksum: crc32c,
        text: (bytes, start, end) => decoder.decode(bytes.subarray(start, end)),
        epoch,
      },
    );
    const journal = { logId: journalLogId, writer: journalLogId };
    for (const block of log.readNow(journal, 0, Number.POSITIVE_INFINITY)) this.task.restore(block);
    const endOf = (logId: number): number =>
      log.channels(logId).find(({ writer }) => writer === journalLogId)?.endSequence ?? 0;
    this.task.begin(new Map(written.map((logId) => [logId, endOf(logId)])));
    for (const { logId, writer, low } of this.task.positions.all()) this.#cursors.set(`${logId}/${writer}`, low);
  }

  /** Hands over what is new in the inputs and commits what is complete; false when there was nothing to do. */
  pump(): boolean {
    let moved = false;
    for (const [inputIndex, logId] of this.#inputIds.entries()) {
      for (const { writer, endSequence } of this.#log.channels(logId)) {
        const name = `${logId}/${writer}`;
        for (let next = this.#cursors.get(name) ?? 0; next < endSequence; ) {
          for (const block of this.#log.readNow({ logId, writer }, next, readBytes)) {
            const { sequence, recordCount } = readBlockHeader(block);
            next = sequence + recordCount;
            this.#cursors.set(name, next);
            while (!this.task.deliver(inputIndex, block)) this.#commit();
          }
          moved = true;
        }
      }
    }
    return this.#commit() || moved;
  }

  /** Fires what is due at `nowMs`. */
  advance(nowMs: number): void {
    while (this.task.advance(nowMs));
    this.#commit();
  }

  #commit(): boolean {
    const commit = this.task.takeCommit();
    if (commit) this.#log.appendNow(commit.blocks);
    return commit !== undefined;
  }
}

/** How the task of a plan is made from the application's definition. */
export const taskMaker = (definition: AppDefinition, plan: TaskPlan, logSink: LogSink): TestTaskMaker => {
  const stream = definition.streams.find(({ name }) => name === plan.stream);
  if (!stream) throw new HeadraceError("HR_APP_INVALID", `there is no stream "${plan.stream}"`);
  const [log] = inputLogs(outlineOf(definition), plan.stream, plan.partition);
  const inputs = [{ stream, log, reportsRejected: plan.reportsRejected }];
  const found = definition.functions.find(({ name }) => plan.kind === "function" && name === plan.functionName);
  if (found) {
    const handlers = functionHandlers(found, logSink);
    return { plan, handlers, asynchronous: isAsyncHandler(found), concurrency: found.concurrency, inputs };
  }
  const window = definition.windows.find(({ name }) => plan.kind === "window" && name === plan.functionName);
  const handlers: TaskHandlers = window ? tumblingHandlers(window) : { onEvent: () => undefined };
  return { plan, handlers, asynchronous: false, concurrency: 1, inputs };
};

/** How the outbox is made. */
export const outboxMaker = (definition: AppDefinition, send: SendCommand, ended: CommandEnded): TestTaskMaker => {
  const found = definition.streams.find(({ name }) => name === systemStreams.acknowledgements);
  if (!found) throw new HeadraceError("HR_APP_INVALID", "every application has the stream of acknowledgements");
  const { schema: _, ...acknowledgements } = found;
  const effects: StreamDefinition = { ...acknowledgements, name: "effects", kind: "derived", sources: [] };
  return {
    plan: { ...outboxTask, kind: "check", stream: effects.name, partition: 0, partitions: 1, reportsRejected: false },
    handlers: outboxHandlers(send, ended),
    asynchronous: false,
    concurrency: 1,
    inputs: [
      { stream: effects, log: effectsLog, reportsRejected: false, decode: false },
      { stream: acknowledgements, log: streamLog(acknowledgements.name, 0), reportsRejected: true },
    ],
  };
};

/** What planning reads of a definition. */
export const outlineOf = ({ streams, functions, windows }: AppDefinition): PlanOutline => ({
  streams: streams.map(({ name, kind, partitions, schema }) => ({ name, kind, partitions, hasSchema: !!schema })),
  functions,
  windows,
});
