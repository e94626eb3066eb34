/**
 * An application on a virtual clock: the same tasks, windows and outbox as on a node, in one thread, over a log in memory. Nothing here
 * waits for a timer of the machine; what runs synchronously has happened when a call returns, what is asynchronous when `settle` does.
 */
import { type OwedCommand, partitionOf, pendingCommand, planTasks } from "@headrace/engine";
import {
  type AlertEvent,
  type AppDefinition,
  type CommandEvent,
  type DeadLetterEvent,
  type Duration,
  durationMs,
  HeadraceError,
  type RejectedEvent,
  type Stream,
  systemStreams,
  type WindowRow,
} from "@headrace/sdk";
import { Intake } from "./intake.ts";
import { MemoryLog } from "./memory-log.ts";
import { seededRandom, shuffled } from "./random.ts";
import { eventsOf, type TestEvent, tableRows } from "./stream-view.ts";
import { fillTopic, TestDevice } from "./test-device.ts";
import { outboxMaker, outlineOf, TestTask, type TestTaskMaker, taskMaker } from "./test-task.ts";

export interface TestAppOptions {
  /** Where the clock starts, in ms since the epoch; default 2026-01-01T00:00:00Z. */
  readonly startMs?: number;
  /** Chooses the order in which tasks take turns; default 1. Same input, same seed, same bytes. */
  readonly seed?: number;
}

/** What a handler logged. */
export interface LogEntry {
  readonly level: string;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly function: string;
  readonly key: string;
}

type Keyed<Value> = Value & { readonly key: string; readonly device: string };

const startMsDefault = Date.UTC(2026, 0, 1);

export class TestApp {
  /** The log under the application: what stands in it can be read, and compared between runs by its `dump`. */
  readonly log = new MemoryLog();
  readonly #definition: AppDefinition;
  readonly #random: () => number;
  readonly #intake: Intake;
  readonly #devices = new Map<string, TestDevice>();
  readonly #logged: LogEntry[] = [];
  readonly #makers: TestTaskMaker[];
  #tasks: TestTask[] = [];
  /** Commands that no acknowledgement or deadline has ended, by id. */
  #pending = new Map<string, OwedCommand>();
  #toDeliver: OwedCommand[] = [];
  #answering = new Set<Promise<void>>();
  #pumping = false;
  #nowMs: number;

  constructor(definition: AppDefinition, { startMs = startMsDefault, seed = 1 }: TestAppOptions = {}) {
    this.#definition = definition;
    this.#nowMs = startMs;
    this.#random = seededRandom(seed);
    this.#intake = new Intake(definition, this.log);
    this.#makers = [
      ...planTasks(outlineOf(definition)).map((plan) =>
        taskMaker(definition, plan, (entry) => this.#logged.push(entry)),
      ),
      outboxMaker(
        definition,
        (command) => this.#send(command),
        (id) => this.#pending.delete(id),
      ),
    ];
    this.#recover();
  }

  /** The virtual clock, in ms since the epoch. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** The device of this id. */
  device(id: string): TestDevice {
    const known = this.#devices.get(id);
    if (known) return known;
    const device = new TestDevice(id, {
      topicOf: (stream, params) => fillTopic(stream, this.#stream(stream).sources[0]?.pattern, params),
      publish: (topic, device, payload, qos, headers) => {
        this.#intake.accept({ topic, device, payload, qos, headers }, this.#nowMs);
        this.#pump();
      },
      listening: (device) => {
        for (const command of this.#pending.values()) {
          if (command.device === device && !this.#toDeliver.includes(command)) this.#answer(command, false);
        }
      },
    });
    this.#devices.set(id, device);
    return device;
  }

  // Time.

  /**
   * Moves the clock, firing every timer on the way at its time, in order; settles first and after each.
   * @param by a duration such as `"1m"`, or milliseconds
   */
  async advance(by: Duration | number): Promise<void> {
    const untilMs = this.#nowMs + (typeof by === "number" ? by : durationMs(by));
    await this.settle();
    for (;;) {
      const dueMs = Math.min(...this.#tasks.map(({ task }) => task.nextDueMs ?? Number.POSITIVE_INFINITY));
      if (dueMs > untilMs) break;
      this.#nowMs = Math.max(this.#nowMs, dueMs);
      for (const task of shuffled(this.#tasks, this.#random)) task.advance(this.#nowMs);
      await this.settle();
    }
    this.#nowMs = untilMs;
  }

  /** Waits until no handler is under way and everything that followed from them has happened. */
  async settle(): Promise<void> {
    for (;;) {
      this.#pump();
      const waiting = [
        ...this.#tasks.filter(({ task }) => task.pendingEvents > 0).map(({ task }) => task.idle()),
        ...this.#answering,
      ];
      if (waiting.length === 0) return;
      await Promise.race(waiting);
    }
  }

  /**
   * Drops everything that the tasks hold in memory and recovers it from the log, as after a crash: what was committed goes on, an
   * asynchronous handler that was under way is called again, and pending commands are sent again with their old ids.
   */
  crash(): void {
    this.#pending = new Map();
    this.#toDeliver = [];
    this.#recover();
    this.#pump();
  }

  // What came out.

  /** The events of a stream, in the order in which they were stored. */
  outputs<Value>(stream: string | Stream<Value>): TestEvent<Value>[] {
    const name = typeof stream === "string" ? stream : stream.name;
    this.#stream(name);
    return eventsOf(this.log, name) as TestEvent<Value>[];
  }

  /** Alerts as they were raised, updated and cleared. */
  alerts(): Keyed<AlertEvent>[] {
    return this.#keyed<AlertEvent>(systemStreams.alerts);
  }

  /** Commands as they were sent, acknowledged, failed or expired: an event each. */
  commands(): Keyed<CommandEvent>[] {
    return this.#keyed<CommandEvent>(systemStreams.commands);
  }

  /** Events that do not parse or break their stream's schema. */
  rejected(): Keyed<RejectedEvent>[] {
    return this.#keyed<RejectedEvent>(systemStreams.rejected);
  }

  /** Events whose handler failed. */
  deadLetters(): Keyed<DeadLetterEvent>[] {
    return this.#keyed<DeadLetterEvent>(systemStreams.deadLetters);
  }

  /** The rows of a window's table: the newest revision of each key and window, by window and key. */
  table<Row extends WindowRow = WindowRow & Readonly<Record<string, number>>>(
    table: string | Stream<Row>,
  ): (Row & { key: string })[] {
    return tableRows(this.outputs<Row>(table));
  }

  /** A function's state of a key, as of its last completed invocation; undefined when the key has none. */
  state(functionName: string, key: string): unknown {
    const tasks = this.#tasks.filter(({ plan }) => plan.functionName === functionName);
    const task = tasks.find(({ plan }) => plan.partition === partitionOf(key, plan.partitions));
    if (!task) {
      const names = new Set(this.#tasks.map(({ plan }) => plan.functionName));
      throw new HeadraceError(
        "HR_NOT_FOUND",
        `there is no function "${functionName}"; there are ${[...names].join(", ")}`,
      );
    }
    return task.task.state.peek(key);
  }

  /** What handlers logged, in order. */
  logged(): readonly LogEntry[] {
    return this.#logged;
  }

  #keyed<Value extends object>(stream: string): Keyed<Value>[] {
    return this.outputs<Value>(stream).map(({ value, key, device }) => ({ device, ...value, key }));
  }

  #stream(name: string): AppDefinition["streams"][number] {
    const found = this.#definition.streams.find((stream) => stream.name === name);
    if (found) return found;
    const names = this.#definition.streams.map((stream) => stream.name).join(", ");
    throw new HeadraceError("HR_NOT_FOUND", `there is no stream "${name}"; there are ${names}`);
  }

  // Work.

  #recover(): void {
    const { log, definition } = { log: this.log, definition: this.#definition };
    this.#tasks = this.#makers.map((maker) => new TestTask({ log, definition, nowMs: () => this.#nowMs }, maker));
    const { state } = this.#tasks[this.#tasks.length - 1].task;
    for (const { key } of state.entries()) {
      const command = pendingCommand(state.peek(key));
      if (command) this.#send(command);
    }
  }

  #send(command: OwedCommand): void {
    // A batch that ran a second time asks for the same command again.
    if (this.#pending.has(command.id)) return;
    this.#pending.set(command.id, command);
    this.#toDeliver.push(command);
  }

  /** Lets the tasks take turns until none has anything to do. */
  #pump(): void {
    // A device that answers from within a turn is heard in the next one.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let moved = true; moved; ) {
        moved = false;
        for (const task of shuffled(this.#tasks, this.#random)) moved = task.pump() || moved;
        for (const command of this.#toDeliver.splice(0)) {
          this.#answer(command, true);
          moved = true;
        }
      }
    } finally {
      this.#pumping = false;
    }
  }

  #answer(command: OwedCommand, isNew: boolean): void {
    const { id, name, args, device: to, deadlineMs } = command;
    const device = this.device(to);
    const answered = isNew
      ? device.deliver({ id, name, args, deadlineMs })
      : device.answer({ id, name, args, deadlineMs });
    if (!answered) return;
    const settled = answered.finally(() => this.#answering.delete(settled));
    this.#answering.add(settled);
  }
}

/**
 * Runs an application in memory, on a virtual clock.
 *
 * @throws HR_APP_INVALID for a definition that does not hold together.
 * @example
 * ```ts
 * const t = await testApp(factory);
 * t.device("p1").publish(readings, { temperature: 97, vibration: 0.2 }, { params: { plant: "north" } });
 * await t.advance("1m");
 * t.table("per_minute"); // => [{ key: "p1", temperature: 97, … }]
 * ```
 */
export const testApp = async (
  app: { readonly definition: AppDefinition },
  options?: TestAppOptions,
): Promise<TestApp> => {
  const test = new TestApp(app.definition, options);
  await test.settle();
  return test;
};
