/** A task on this thread, run by a real driver: what a worker does, without the thread, with its commits in the hands of the test. */
import {
  EventBlockBuilder,
  EventBlockReader,
  InternedString,
  journalLog,
  type PreparedCommit,
  streamLog,
  Task,
  type TaskPlan,
} from "@headrace/engine";
import type { StreamDefinition } from "@headrace/sdk";
import { checksum, type EmbeddedLog } from "../src/log/index.ts";
import type { TaskStart } from "../src/runtime/messages.ts";
import type { TaskDriver, TaskPort } from "../src/runtime/task-driver.ts";

const stream: StreamDefinition = {
  name: "in",
  sources: [],
  partitions: 1,
  retain: {},
  kind: "source",
  system: false,
  columns: [],
  table: false,
};

/** Counts the events of each key and puts each one out with its number. */
export const countingPlan: TaskPlan = {
  name: "count/0",
  functionName: "count",
  kind: "function",
  stream: "in",
  partition: 0,
  partitions: 1,
  outputs: ["out"],
  reportsRejected: false,
};

export class DrivenTask implements TaskPort {
  driver: TaskDriver | undefined;
  task: Task | undefined;
  epoch = 0;
  begun = false;
  #from: TaskStart | undefined;

  start(from: TaskStart): void {
    this.#from = from;
    this.epoch = from.epoch;
    this.task = new Task(
      {
        ...from.plan,
        inputs: [{ stream, logIds: from.inputLogIds, decode: true, reportsRejected: false }],
        outputs: from.outputLogIds.map(([name, logId]) => ({ stream: name, logId })),
        effectsLogId: from.effectsLogId,
        journalLogId: from.journalLogId,
        asynchronous: false,
        concurrency: 1,
        initialState: () => ({ n: 0 }),
        onEvent: (event, invocation) => {
          const state = invocation.state as { n: number };
          state.n += 1;
          invocation.emit("out", { id: (event.value as { id: number }).id, n: state.n });
        },
      },
      {
        nowMs: () => 1000,
        checksum,
        text: (bytes, start, end) => new TextDecoder().decode(bytes.subarray(start, end)),
        epoch: from.epoch,
      },
    );
  }
  restore(blocks: readonly Uint8Array[]): void {
    for (const block of blocks) this.task?.restore(block);
  }
  begin(): void {
    const { task, driver } = this;
    if (!task || !driver || !this.#from) return;
    task.begin(new Map(this.#from.ends));
    this.begun = true;
    driver.ready({
      kind: "ready",
      task: task.spec.name,
      positions: this.#positions,
      meta: { timeMs: 0, processed: task.processed, failed: 0, nextTimerMs: 0 },
      keys: task.state.size,
      stateBytes: task.state.byteLength,
    });
  }
  block(block: Uint8Array): void {
    this.task?.deliver(0, block);
  }
  advance(): void {}
  committed(): void {}
  skip(): void {}

  get #positions(): [number, number, number][] {
    return (this.task?.positions.all() ?? []).map(({ logId, writer, low }) => [logId, writer, low]);
  }

  /** What the task would commit now: made, and not handed over yet. */
  take(): PreparedCommit | undefined {
    return this.task?.takeCommit();
  }
  /** Hands a commit over; settles when it is durable or refused. */
  async commit(commit: PreparedCommit | undefined): Promise<void> {
    if (!commit || !this.task) return;
    this.driver?.commit({
      kind: "commit",
      task: this.task.spec.name,
      ...commit,
      positions: this.#positions,
      latestArrivalMs: 0,
      keys: this.task.state.size,
      stateBytes: this.task.state.byteLength,
      urgent: true,
    });
    await this.driver?.settled();
  }
}

/** Stores events with these ids, ten to a key. */
export const storeEvents = async (log: EmbeddedLog, ids: readonly number[]): Promise<void> => {
  const { id: logId } = await log.open(streamLog("in", 0), "stream");
  const builder = new EventBlockBuilder();
  for (const id of ids) {
    const key = new InternedString(`k${id % 3}`);
    const payload = Buffer.from(JSON.stringify({ id }));
    builder.append(key, key, key, 1, 1000, payload, 0, payload.byteLength);
  }
  const place = { logId, writer: 0, epoch: 0, sequence: log.endSequence({ logId, writer: 0 }) };
  await log.append([builder.seal(place, checksum).slice()]);
};

/** Ids that the task has put out, in the order in which they are stored, and the epochs of its commits. */
export const outcome = async (log: EmbeddedLog): Promise<{ ids: number[]; epochs: number[] }> => {
  const out = await log.open(streamLog("out", 0), "stream");
  const journal = await log.open(journalLog(countingPlan.name), "journal");
  const ids: number[] = [];
  for (const block of await log.read({ logId: out.id, writer: journal.id }, 0, 1e9)) {
    const reader = new EventBlockReader(block);
    while (reader.next()) ids.push((JSON.parse(Buffer.from(reader.payload).toString()) as { id: number }).id);
  }
  const commits = await log.read({ logId: journal.id, writer: journal.id }, 0, 1e9);
  return { ids, epochs: commits.map((block) => new DataView(block.buffer, block.byteOffset).getUint32(24, true)) };
};
