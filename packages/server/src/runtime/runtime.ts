/** The runtime of one application: its workers, their tasks and the outbox, and the clock that wakes sleeping tasks. */
import { join } from "node:path";
import { inputLogs, type Leases, type OwedCommand, planTasks, type TaskPlan } from "@headrace/engine";
import { HeadraceError, systemStreams } from "@headrace/sdk";
import type { TaskStatus } from "../control.ts";
import type { EmbeddedLog } from "../log/index.ts";
import type { AppOutline, Release } from "./app-bundle.ts";
import type { StartFunctionThread } from "./function-thread.ts";
import { Outbox } from "./outbox.ts";
import { nodeSnapshotSystem, type SnapshotSystem, Snapshots, type SnapshotTrigger } from "./snapshots/index.ts";
import { TaskDriver } from "./task-driver.ts";
import { WorkerHost } from "./worker-host.ts";

export interface RuntimeOptions {
  readonly log: EmbeddedLog;
  readonly leases: Leases;
  readonly dataFolder: string;
  readonly release: Release;
  /** When snapshots are made; default: at 4 MiB of journal and at as much as the last one. */
  readonly snapshotTrigger?: SnapshotTrigger;
  readonly deliver: (command: OwedCommand) => "sent" | "offline";
  readonly onLog: (entry: { level: string; message: string; function: string }) => void;
  /** Default: the machine's. */
  readonly system?: RuntimeSystem;
}

/** What the runtime takes of the machine. */
export interface RuntimeSystem {
  readonly snapshots: SnapshotSystem;
  readonly startThread: StartFunctionThread;
}

/** Longest sleep of the timer clock: a bound on what a step of the wall clock can delay. */
const sleepMsMax = 1000;
/** A release whose tasks need longer to load and recover is taken for broken. */
const beginDeadlineMs = 60_000;

/** A worker thread's tasks: one function each, and one thread for all declarative operators. */
const workerOf = (plan: TaskPlan): string => (plan.kind === "function" ? `function:${plan.functionName}` : "operators");

export class Runtime {
  readonly #options: RuntimeOptions;
  #outline: AppOutline;
  #drivers: TaskDriver[] = [];
  #hosts: WorkerHost[] = [];
  readonly #outbox: Outbox;
  readonly #snapshots: Snapshots;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = Number.POSITIVE_INFINITY;

  constructor(options: RuntimeOptions) {
    this.#options = options;
    this.#outline = options.release.outline;
    const acknowledgements = this.#outline.streams.find((stream) => stream.name === systemStreams.acknowledgements);
    if (!acknowledgements) throw new Error("every application has the stream of acknowledgements");
    this.#snapshots = new Snapshots(
      options.log,
      join(options.dataFolder, "snapshots"),
      options.snapshotTrigger,
      options.system?.snapshots ?? nodeSnapshotSystem,
    );
    this.#outbox = new Outbox({
      log: options.log,
      leases: options.leases,
      snapshots: this.#snapshots,
      acknowledgements,
      deliver: options.deliver,
      onDriver: (driver) => this.#wakeFor(driver),
      onLog: options.onLog,
    });
  }

  async start(): Promise<void> {
    await this.#outbox.start();
    this.#startRelease(this.#options.release);
    this.#wakeFor(this.#outbox.driver);
    await this.#begun();
  }

  /** Waits until every task stands where it begins. @throws HR_APP_LOAD_FAILED naming the tasks that do not come up */
  async #begun(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<"late">();
    const timer = setTimeout(() => resolve("late"), beginDeadlineMs);
    const outcome = await Promise.race([Promise.all(this.#drivers.map((driver) => driver.begun)), late]);
    clearTimeout(timer);
    if (outcome !== "late") return;
    const waiting = this.#drivers.filter(({ state }) => state !== "running").map(({ plan }) => plan.name);
    throw new HeadraceError(
      "HR_APP_LOAD_FAILED",
      `these tasks did not start within ${beginDeadlineMs / 1000} s: ${waiting.join(", ")}`,
    );
  }

  #startRelease(release: Release): void {
    this.#outline = release.outline;
    const byWorker = new Map<string, TaskPlan[]>();
    for (const plan of planTasks(release.outline))
      byWorker.set(workerOf(plan), [...(byWorker.get(workerOf(plan)) ?? []), plan]);
    for (const [name, plans] of byWorker) {
      const drivers = plans.map(
        (plan): TaskDriver =>
          new TaskDriver({
            log: this.#options.log,
            leases: this.#options.leases,
            plan,
            inputLogs: inputLogs(release.outline, plan.stream, plan.partition),
            snapshots: this.#snapshots,
            early: true,
            onCommitted: (driver) => this.#wakeFor(driver),
            onFailed: (error) => host.failed(error),
          }),
      );
      const host: WorkerHost = new WorkerHost({
        name,
        bundleUrl: release.bundleUrl,
        drivers,
        onLog: this.#options.onLog,
        startThread: this.#options.system?.startThread,
      });
      this.#drivers.push(...drivers);
      this.#hosts.push(host);
      host.start();
    }
  }

  /** Replaces the application: the old tasks end with a commit, the new ones go on from there. */
  async reload(release: Release, deadlineMs = 5000): Promise<void> {
    const hosts = this.#hosts;
    const before = this.#drivers.map(({ plan }) => plan.name);
    this.#hosts = [];
    this.#drivers = [];
    await Promise.all(hosts.map((host) => host.close(deadlineMs)));
    this.#startRelease(release);
    const now = new Set(this.#drivers.map(({ plan }) => plan.name));
    for (const name of before) if (!now.has(name)) this.#options.log.release(name);
    await this.#begun();
  }

  deviceReady(device: string): void {
    this.#outbox.deviceReady(device);
  }

  // Timers: each commit carries its task's next one; the earliest of all is slept for.

  #wakeFor(driver: TaskDriver): void {
    const { nextTimerMs } = driver.meta;
    if (nextTimerMs > 0 && nextTimerMs < this.#timerDueMs) this.#sleepUntil(nextTimerMs);
  }
  #sleepUntil(dueMs: number): void {
    clearTimeout(this.#timer);
    this.#timerDueMs = dueMs;
    this.#timer = setTimeout(() => this.#wake(), Math.min(sleepMsMax, Math.max(1, dueMs - Date.now())));
    this.#timer.unref();
  }
  #wake(): void {
    const nowMs = Date.now();
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    const drivers = [...this.#drivers, this.#outbox.driver];
    const due = drivers.filter(({ meta }) => meta.nextTimerMs > 0 && meta.nextTimerMs <= nowMs);
    if (due.length > 0) void this.#advance(due, nowMs);
    const later = drivers.map(({ meta }) => meta.nextTimerMs).filter((next) => next > nowMs);
    if (due.length > 0) later.push(nowMs + 50);
    if (later.length > 0) this.#sleepUntil(Math.min(...later));
  }

  /** What was accepted up to now goes to the tasks first, to those that do not start early when it is durable. */
  async #advance(due: readonly TaskDriver[], nowMs: number): Promise<void> {
    const { log } = this.#options;
    await log.written();
    for (const driver of due) if (driver.startsEarly) driver.advance(nowMs);
    await log.underWay;
    for (const driver of due) if (!driver.startsEarly) driver.advance(nowMs);
  }

  status(nowMs = Date.now()): TaskStatus[] {
    return this.#drivers.map((driver) => {
      const { lagEvents } = driver;
      return {
        name: driver.plan.name,
        function: driver.plan.functionName,
        stream: driver.plan.stream,
        state: driver.state,
        processed: driver.meta.processed,
        failed: driver.meta.failed,
        lagEvents,
        lagMs: lagEvents === 0 ? 0 : Math.max(0, nowMs - (driver.latestArrivalMs || nowMs)),
        keys: driver.keys,
        stateBytes: driver.stateBytes,
        ...(driver.failure && { failure: driver.failure.message }),
      };
    });
  }

  get pendingCommands(): number {
    return this.#outbox.pendingCount;
  }
  /** Steps of commands since this start. */
  get commandSteps(): { sent: number; acknowledged: number; failed: number; expired: number } {
    const { sent, acknowledged, failed, expired } = this.#outbox.steps;
    return { sent, acknowledged, failed, expired };
  }
  get activeAlerts(): number {
    return this.#outbox.activeAlerts;
  }

  async close(deadlineMs: number): Promise<void> {
    clearTimeout(this.#timer);
    await Promise.all(this.#hosts.map((host) => host.close(deadlineMs)));
    await this.#outbox.close();
    await this.#snapshots.close();
  }
}
