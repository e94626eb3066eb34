/**
 * The property that everything else stands on (DESIGN: exactly-once, precisely): whatever throws or waits where, however the input is cut
 * into blocks, whenever commits are taken and whenever the task is lost and recovered, the result equals the serial run, and each event
 * counts once. The oracle below runs the events of each key one by one, without batches, commits or crashes.
 */

import type { Context, Event, FunctionDefinition, Handler } from "@headrace/sdk";
import { systemStreams } from "@headrace/sdk";
import { MemoryLog } from "@headrace/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { eventsBlock, eventsIn, type ReadEvent, sourceStream, taskHost } from "../../test/task-host.ts";
import { crc32c } from "../block/crc32c.ts";
import { readBlockHeader } from "../block/header.ts";
import { Compaction } from "./compaction.ts";
import { functionHandlers } from "./function-handlers.ts";
import { Task } from "./task.ts";

const syncActs = ["ok", "quiet", "throw", "big", "unkeepable", "cyclic emit", "cyclic command", "hang on"] as const;
const waitActs = ["wait", "wait and throw", "wait and break"] as const;
type Act = (typeof syncActs)[number] | (typeof waitActs)[number];

interface Value {
  readonly id: string;
  readonly act: Act;
}
interface State {
  n: number;
  trail: string[];
  last: Map<string, number>;
}
interface Input {
  readonly key: string;
  readonly kind: Act | "not json" | "repeated";
}

const initialState = (): State => ({ n: 0, trail: [], last: new Map() });
const cyclic = (): unknown => {
  const value: Record<string, unknown> = {};
  value.self = value;
  return value;
};

/** What happens to a key's state and to the outside before an act may fail. */
const begin = (state: State, { id }: Value): void => {
  state.n += 1;
  state.trail.push(id);
  state.last.set(id, state.n);
};

type Wait = () => Promise<void>;
type Out = { name: string };
const out: Out = { name: "out" };

const handlerWith =
  (wait: Wait) =>
  (event: Event<Value>, context: Context<State, never>): unknown => {
    const { state, device, alert } = context;
    const emit = context.emit as (stream: Out, value: unknown, options?: { key?: string }) => void;
    const { value } = event;
    begin(state, value);
    switch (value.act) {
      case "quiet":
        return undefined;
      case "ok":
        emit(out, { id: value.id, n: state.n });
        device.command("act", { id: value.id }, { within: "1h" });
        if (state.n % 3 === 0) alert.raise("third", { id: value.id });
        return undefined;
      case "throw":
        emit(out, { id: value.id, never: true });
        alert.clear("third");
        throw new Error(`act ${value.id}`);
      case "big":
        state.trail.push("x".repeat(70_000));
        return undefined;
      case "unkeepable":
        (state as unknown as Record<string, unknown>).f = () => 0;
        return undefined;
      case "cyclic emit":
        emit(out, cyclic());
        return undefined;
      case "cyclic command":
        device.command("act", cyclic(), { within: "1h" });
        return undefined;
      case "hang on":
        // Uses its context after it has returned: refused, whatever runs by then.
        void Promise.resolve()
          .then(() => emit(out, { id: value.id, late: true }))
          .catch(() => undefined);
        return undefined;
      case "wait":
        return wait().then(() => {
          begin(state, { ...value, id: `${value.id}+` });
          emit(out, { id: value.id, n: state.n });
          device.command("act", { id: value.id }, { within: "1h" });
        });
      case "wait and throw":
        emit(out, { id: value.id, never: true });
        return wait().then(() => {
          begin(state, { ...value, id: `${value.id}+` });
          throw new Error(`act ${value.id}`);
        });
      case "wait and break":
        return wait().then(() => {
          (state as unknown as Record<string, unknown>).f = () => 0;
        });
      default:
        throw new Error(`unknown act ${value.act satisfies never}`);
    }
  };

interface Result {
  readonly states: Record<string, unknown>;
  readonly outputs: Record<string, unknown[]>;
  readonly effects: Record<string, unknown[]>;
  readonly deadLetters: Record<string, unknown[]>;
  readonly rejected: Record<string, unknown[]>;
  readonly processed: number;
  readonly failed: number;
}

const nowMs = 5000;
const inputId = 1;

/** The events of each key one by one. */
const serialRun = (inputs: readonly Input[], writerOf: (key: string) => number): Result => {
  const result = { states: {}, outputs: {}, effects: {}, deadLetters: {}, rejected: {}, processed: 0, failed: 0 } as {
    states: Record<string, State>;
    outputs: Record<string, unknown[]>;
    effects: Record<string, unknown[]>;
    deadLetters: Record<string, unknown[]>;
    rejected: Record<string, unknown[]>;
    processed: number;
    failed: number;
  };
  const sequences = new Map<number, number>();
  for (const { key, kind } of inputs) {
    const writer = writerOf(key);
    const sequence = sequences.get(writer) ?? 0;
    sequences.set(writer, sequence + 1);
    if (kind === "repeated") continue;
    result.processed += 1;
    const id = `${writer}/${sequence}`;
    const cause = `f/0/${inputId}/${id}`;
    if (kind === "not json") {
      result.rejected[key] = [...(result.rejected[key] ?? []), `${inputId}/${id}`];
      continue;
    }
    const before = result.states[key];
    const state = structuredClone(before ?? initialState());
    begin(state, { id, act: kind });
    let index = 0;
    const effect = (kind: string, what: object): void => {
      result.effects[key] = [...(result.effects[key] ?? []), [`${cause}/${index++}`.replaceAll("/", ":"), kind, what]];
    };
    const emit = (value: unknown): void => {
      result.outputs[key] = [...(result.outputs[key] ?? []), [`${cause}/${index++}`, value]];
    };
    const failed = kind !== "ok" && kind !== "quiet" && kind !== "hang on" && kind !== "wait";
    if (failed) {
      const { n, trail, last } = before ?? initialState();
      result.failed += 1;
      result.deadLetters[key] = [
        ...(result.deadLetters[key] ?? []),
        {
          payload: JSON.stringify({ id, act: kind }),
          stateBefore: { n, trail, last: [...last] },
          position: `${inputId}/${id}`,
        },
      ];
      continue;
    }
    if (kind === "wait") begin(state, { id: `${id}+`, act: kind });
    if (kind === "ok" || kind === "wait") {
      emit({ id, n: state.n });
      effect("command", { id });
      if (kind === "ok" && state.n % 3 === 0) effect("alert.raise", { id });
    }
    result.states[key] = state;
  }
  return result;
};

const byKey = <T>(events: readonly ReadEvent[], view: (event: ReadEvent) => T): Record<string, T[]> => {
  const groups: Record<string, T[]> = {};
  for (const event of events) groups[event.key] = [...(groups[event.key] ?? []), view(event)];
  return groups;
};

type Step =
  | { readonly do: "deliver"; readonly writer: number }
  | { readonly do: "commit" }
  | { readonly do: "lose a commit" }
  | { readonly do: "resolve"; readonly at: number }
  | { readonly do: "snapshot" }
  | { readonly do: "crash" };

/** Everything that promises have led to by now. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 12; turn++) await undefined;
};

interface Plan {
  readonly inputs: readonly Input[];
  readonly blockSizes: readonly number[];
  readonly steps: readonly Step[];
  readonly asynchronous: boolean;
  readonly concurrency: number;
  readonly writers: number;
}

const run = async (plan: Plan): Promise<{ result: Result; writerOf: (key: string) => number }> => {
  const log = new MemoryLog();
  const input = log.openNow("stream/in/0", "stream").id;
  const journalId = log.openNow("journal/f/0", "journal").id;
  const effectsId = log.openNow("effects/0", "effects").id;
  const outputs = [out.name, systemStreams.rejected, systemStreams.deadLetters].map((stream) => ({
    stream,
    logId: log.openNow(`stream/${stream}/0`, "stream").id,
  }));
  expect(input).toBe(inputId);
  const writerOf = (key: string): number => key.charCodeAt(0) % plan.writers;

  // The input, cut into blocks per writer.
  const blocks: Uint8Array[][] = Array.from({ length: plan.writers }, () => []);
  const cuts = [...plan.blockSizes];
  for (let writer = 0; writer < plan.writers; writer++) {
    const mine = plan.inputs.filter(({ key }) => writerOf(key) === writer);
    for (let at = 0; at < mine.length; ) {
      const size = Math.min(cuts.shift() ?? 3, mine.length - at);
      const events = mine.slice(at, at + size).map(({ key, kind }, index) => {
        const id = `${writer}/${at + index}`;
        if (kind === "not json") return { key, value: "{nothing" };
        return { key, value: { id, act: kind === "repeated" ? "ok" : kind }, repeated: kind === "repeated" };
      });
      const block = eventsBlock({ logId: inputId, writer, epoch: 0, sequence: at }, events);
      log.appendNow([block]);
      blocks[writer].push(block);
      at += size;
    }
  }

  const gates: (() => void)[] = [];
  const wait: Wait = () => new Promise((resolve) => gates.push(resolve));
  const definition: FunctionDefinition = {
    name: "f",
    on: "in",
    state: initialState,
    handler: handlerWith(wait) as Handler,
    emits: [out.name],
    onFailure: "skip",
    concurrency: plan.concurrency,
  };
  const journal = { logId: journalId, writer: journalId };
  let snapshot: { sequence: number; blocks: Uint8Array[] } | undefined;
  const recover = (): Task => {
    const epoch = log.fenceNow(journal);
    const task = new Task(
      {
        ...functionHandlers(definition, () => undefined),
        name: "f/0",
        functionName: "f",
        partition: 0,
        partitions: 1,
        inputs: [{ stream: sourceStream("in"), logIds: [inputId], decode: true, reportsRejected: true }],
        outputs,
        effectsLogId: effectsId,
        journalLogId: journalId,
        asynchronous: plan.asynchronous,
        concurrency: plan.concurrency,
      },
      taskHost(epoch, () => nowMs),
    );
    const history = log.readNow(journal, snapshot ? snapshot.sequence + 1 : 0, Number.POSITIVE_INFINITY);
    for (const block of [...(snapshot?.blocks ?? []), ...history]) task.restore(block);
    const ends = [journalId, effectsId, ...outputs.map(({ logId }) => logId)].map((logId): [number, number] => [
      logId,
      log.channels(logId).find(({ writer }) => writer === journalId)?.endSequence ?? 0,
    ]);
    task.begin(new Map(ends));
    return task;
  };
  let task = recover();
  let next = blocks.map(() => 0);
  const deliver = (writer: number): void => {
    const block = blocks[writer][next[writer]];
    if (!block) return;
    next[writer]++;
    task.deliver(0, block);
  };
  const commit = (): void => {
    const taken = task.takeCommit();
    if (taken) log.appendNow(taken.blocks);
  };
  const crash = (): void => {
    const zombie = task;
    task = recover();
    // A former owner that wakes up is refused by the log itself.
    const late = zombie.takeCommit();
    if (late) expect(() => log.appendNow(late.blocks)).toThrow(expect.objectContaining({ code: "HR_FENCED" }));
    next = blocks.map((mine, writer) => {
      const low = task.positions.all().find((position) => position.writer === writer)?.low ?? 0;
      const at = mine.findIndex((block) => {
        const { sequence, recordCount } = readBlockHeader(block);
        return sequence + recordCount > low;
      });
      return at < 0 ? mine.length : at;
    });
  };

  for (const step of plan.steps) {
    if (step.do === "deliver") deliver(step.writer % plan.writers);
    else if (step.do === "commit") commit();
    else if (step.do === "lose a commit") {
      task.takeCommit();
      crash();
    } else if (step.do === "resolve") gates.splice(step.at % Math.max(1, gates.length), 1)[0]?.();
    else if (step.do === "snapshot") {
      const taken = task.takeCommit();
      if (taken) {
        log.appendNow(taken.blocks);
        const compaction = new Compaction();
        for (const block of log.readNow(journal, snapshot ? snapshot.sequence + 1 : 0, Number.POSITIVE_INFINITY))
          compaction.add(block);
        snapshot = { sequence: taken.journalSequence, blocks: [...compaction.fold(snapshot?.blocks ?? [], crc32c)] };
      }
    } else crash();
    await settle();
  }
  // To the end: all input, all promises, everything committed.
  for (let writer = 0; writer < plan.writers; writer++) while (next[writer] < blocks[writer].length) deliver(writer);
  while (task.pendingEvents > 0 || gates.length > 0) {
    for (const resolve of gates.splice(0)) resolve();
    await settle();
  }
  commit();
  expect(task.takeCommit()).toBeUndefined();

  // What counts is what a new owner finds.
  const found = recover();
  const keys = [...found.state.entries()].map(({ key }) => key);
  const [outputId, rejectedId, deadLettersId] = outputs.map(({ logId }) => logId);
  for (const [writer, mine] of blocks.entries()) {
    if (mine.length === 0) continue;
    const { low, runs } = found.positions.channel(inputId, writer);
    expect({ writer, low, runs }).toEqual({
      writer,
      low: plan.inputs.filter(({ key }) => writerOf(key) === writer).length,
      runs: [],
    });
  }
  return {
    writerOf,
    result: {
      states: Object.fromEntries(keys.map((key) => [key, found.state.peek(key)])),
      outputs: byKey(eventsIn(log, outputId), ({ cause, value }) => [cause, value]),
      effects: byKey(eventsIn(log, effectsId), ({ value, topic }) => {
        const { id, effect } = value as { id: string; effect: { args?: object; details?: object } };
        return [id, topic, effect.args ?? effect.details];
      }),
      deadLetters: byKey(eventsIn(log, deadLettersId), ({ value: { payload, stateBefore, position } }) => ({
        payload,
        stateBefore,
        position,
      })),
      rejected: byKey(eventsIn(log, rejectedId), ({ value }) => value.position),
      processed: found.processed,
      failed: found.failed,
    },
  };
};

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("deliver" as const), writer: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("resolve" as const), at: fc.nat(20) }) },
  { weight: 3, arbitrary: fc.constant({ do: "commit" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "snapshot" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "crash" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "lose a commit" as const }) },
);

const plans = (acts: readonly Act[], asynchronous: fc.Arbitrary<boolean>): fc.Arbitrary<Plan> => {
  const kind = fc.oneof(
    { weight: 8, arbitrary: fc.constant("ok" as const) },
    { weight: 5, arbitrary: fc.constantFrom(...acts) },
    { weight: 1, arbitrary: fc.constantFrom("not json" as const, "repeated" as const) },
  );
  return fc.record({
    inputs: fc.array(fc.record({ key: fc.constantFrom("a", "b", "c", "d", "ä€"), kind }), { maxLength: 60 }),
    blockSizes: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 30 }),
    steps: fc.array(step, { maxLength: 40 }),
    asynchronous,
    concurrency: fc.integer({ min: 1, max: 8 }),
    writers: fc.integer({ min: 1, max: 2 }),
  });
};

const equalsTheSerialRun = async (plan: Plan): Promise<void> => {
  const { result, writerOf } = await run(plan);
  expect(result).toEqual(serialRun(plan.inputs, writerOf));
};

test("synchronous handlers that throw anywhere equal the serial run", async () => {
  await fc.assert(fc.asyncProperty(plans(syncActs, fc.constant(false)), equalsTheSerialRun), { numRuns: 400 });
});

test("asynchronous handlers that end in any order equal the serial run", async () => {
  await fc.assert(fc.asyncProperty(plans([...syncActs, ...waitActs], fc.constant(true)), equalsTheSerialRun), {
    numRuns: 400,
  });
});

test("handlers that turn out to be asynchronous in the middle of a batch equal the serial run", async () => {
  await fc.assert(fc.asyncProperty(plans([...syncActs, ...waitActs], fc.boolean()), equalsTheSerialRun), {
    numRuns: 400,
  });
});
