/** What the tests of tasks share: a host, blocks of events, and a way to read what a task wrote. */

import type { StreamDefinition } from "@headrace/sdk";
import { MemoryLog } from "@headrace/testkit";
import { crc32c } from "../src/block/crc32c.ts";
import { EventBlockBuilder, InternedString } from "../src/block/event-builder.ts";
import { recordFlag } from "../src/block/event-format.ts";
import { EventBlockReader } from "../src/block/event-reader.ts";
import { readOwed } from "../src/task/owed-command.ts";
import type { TaskHost, TaskSpec } from "../src/task/spec.ts";
import { Task } from "../src/task/task.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

export const taskHost = (epoch: number, nowMs: () => number): TaskHost => ({
  nowMs,
  checksum: crc32c,
  text: (bytes, start, end) => decoder.decode(bytes.subarray(start, end)),
  epoch,
});

export const sourceStream = (name: string, more: Partial<StreamDefinition> = {}): StreamDefinition => ({
  name,
  sources: [{ kind: "mqtt", pattern: "t/:device" }],
  partitions: 1,
  retain: {},
  kind: "source",
  system: false,
  columns: [],
  table: false,
  ...more,
});

export interface TestInput {
  readonly key: string;
  /** Text and bytes are sent as they are, anything else as JSON. */
  readonly value: unknown;
  readonly repeated?: boolean;
  readonly arrivalMs?: number;
  readonly topic?: string;
}

/** One block of events. */
export const eventsBlock = (
  place: { logId: number; writer: number; epoch: number; sequence: number },
  events: readonly TestInput[],
): Uint8Array => {
  const builder = new EventBlockBuilder();
  for (const { key, value, repeated, arrivalMs = 1000, topic = `t/${key}` } of events) {
    const payload =
      value instanceof Uint8Array ? value : encoder.encode(typeof value === "string" ? value : JSON.stringify(value));
    const [topicText, keyText] = [new InternedString(topic), new InternedString(key)];
    const flags = 1 | (repeated ? recordFlag.repeated : 0);
    builder.append(topicText, keyText, keyText, flags, arrivalMs, payload, 0, payload.byteLength);
  }
  return builder.seal(place, crc32c).slice();
};

export interface ReadEvent {
  readonly key: string;
  readonly topic: string;
  readonly device: string;
  readonly value: Record<string, unknown>;
  readonly cause: string | undefined;
}

/** All events of a log, effects too, in the order of their appends. */
export const eventsIn = (log: MemoryLog, logId: number): ReadEvent[] =>
  log.blocksOf(logId).flatMap((block) => {
    const reader = new EventBlockReader(block);
    const events: ReadEvent[] = [];
    while (reader.next()) {
      const { key, topic, client } = reader;
      const value = readOwed(reader.payload) as unknown as Record<string, unknown>;
      events.push({ key, topic, device: client, value, cause: reader.properties().cause });
    }
    return events;
  });

/** A task over a log in memory, by hand: deliver, advance, commit, and recover when it is to be lost. */
export class TaskBench {
  readonly log = new MemoryLog();
  readonly inputId: number;
  readonly secondId: number;
  readonly outputIds = new Map<string, number>();
  readonly effectsId: number;
  readonly journalId: number;
  readonly #spec: Omit<TaskSpec, "journalLogId" | "effectsLogId" | "outputs" | "name" | "functionName">;
  nowMs = 1000;
  task: Task;

  constructor(
    outputs: readonly string[],
    spec: (
      inputId: number,
      secondId: number,
    ) => Omit<TaskSpec, "journalLogId" | "effectsLogId" | "outputs" | "name" | "functionName">,
  ) {
    this.inputId = this.log.openNow("stream/in/0", "stream").id;
    this.secondId = this.log.openNow("stream/second/0", "stream").id;
    this.effectsId = this.log.openNow("effects/0", "effects").id;
    this.journalId = this.log.openNow("journal/f/0", "journal").id;
    for (const output of outputs) this.outputIds.set(output, this.log.openNow(`stream/${output}/0`, "stream").id);
    this.#spec = spec(this.inputId, this.secondId);
    this.task = this.recover();
  }

  /** A task with nothing in memory but what the log holds. */
  recover(): Task {
    const journal = { logId: this.journalId, writer: this.journalId };
    const epoch = this.log.fenceNow(journal);
    const task = new Task(
      {
        ...this.#spec,
        name: "f/0",
        functionName: "f",
        outputs: [...this.outputIds].map(([stream, logId]) => ({ stream, logId })),
        effectsLogId: this.effectsId,
        journalLogId: this.journalId,
      },
      taskHost(epoch, () => this.nowMs),
    );
    for (const block of this.log.readNow(journal, 0, Number.POSITIVE_INFINITY)) task.restore(block);
    const written = [this.journalId, this.effectsId, ...this.outputIds.values()];
    task.begin(new Map(written.map((logId) => [logId, this.#endOf(logId, this.journalId)])));
    this.task = task;
    return task;
  }

  #endOf(logId: number, writer: number): number {
    return this.log.channels(logId).find((channel) => channel.writer === writer)?.endSequence ?? 0;
  }

  /** Stores a block of events in an input. */
  store(logId: number, events: readonly TestInput[], writer = 0): Uint8Array {
    const block = eventsBlock({ logId, writer, epoch: 0, sequence: this.#endOf(logId, writer) }, events);
    this.log.appendNow([block]);
    return block;
  }

  /** Stores events and hands them to the task. */
  send(...events: TestInput[]): void {
    this.task.deliver(0, this.store(this.inputId, events));
  }

  commit(): void {
    const commit = this.task.takeCommit();
    if (commit) this.log.appendNow(commit.blocks);
  }

  /** Hands over what the task has not committed: all of it, again and again. */
  replay(): void {
    for (const [index, logId] of [this.inputId, this.secondId].entries()) {
      for (const block of this.log.blocksOf(logId))
        if (index < this.task.spec.inputs.length) this.task.deliver(index, block);
    }
  }

  /** Moves the clock and fires what is due. */
  advance(nowMs: number): void {
    this.nowMs = nowMs;
    while (this.task.advance(nowMs));
  }

  output(stream: string): ReadEvent[] {
    return eventsIn(this.log, this.outputIds.get(stream) ?? 0);
  }
}
