/** A worker thread with the tasks of one function: started, watched, started again with a growing pause when it dies. */
import { type FunctionThread, type StartFunctionThread, startFunctionThread } from "./function-thread.ts";
import type { FromWorker } from "./messages.ts";
import type { TaskDriver } from "./task-driver.ts";

export interface WorkerHostOptions {
  readonly name: string;
  readonly bundleUrl: string;
  readonly drivers: readonly TaskDriver[];
  readonly onLog: (entry: { level: string; message: string; function: string }) => void;
  /** Default: a thread of its own. */
  readonly startThread?: StartFunctionThread | undefined;
}

const pauseMsMin = 100;
const pauseMsMax = 5000;

export class WorkerHost {
  readonly #options: WorkerHostOptions;
  readonly #drivers: Map<string, TaskDriver>;
  #worker: FunctionThread | undefined;
  #pauseMs = pauseMsMin;
  #restartTimer: NodeJS.Timeout | undefined;
  #closing = false;
  #onStopped: (() => void) | undefined;
  restarts = 0;

  constructor(options: WorkerHostOptions) {
    this.#options = options;
    this.#drivers = new Map(options.drivers.map((driver) => [driver.plan.name, driver]));
  }

  start(): void {
    const { name, bundleUrl, onLog, startThread = startFunctionThread } = this.#options;
    const worker: FunctionThread = startThread(name, bundleUrl, {
      onMessage: (message) => this.#onMessage(worker, message),
      onOutput: (level, message) => onLog({ level, message, function: name }),
      onExit: () => {
        if (this.#worker === worker) this.#onExit();
      },
    });
    this.#worker = worker;
  }

  #onMessage(worker: FunctionThread, message: FromWorker): void {
    if (worker !== this.#worker) return;
    switch (message.kind) {
      case "loaded":
        for (const driver of this.#drivers.values()) void this.#startTask(worker, driver);
        return;
      case "ready":
        this.#drivers.get(message.task)?.ready(message);
        return;
      case "commit":
        this.#pauseMs = pauseMsMin;
        this.#drivers.get(message.task)?.commit(message);
        return;
      case "delivered":
        this.#drivers.get(message.task)?.delivered(message.byteLength);
        return;
      case "log":
        this.#options.onLog(message);
        return;
      case "stopped":
        this.#onStopped?.();
        return;
      default:
        throw new Error(`unknown message ${JSON.stringify(message satisfies never)}`);
    }
  }

  async #startTask(worker: FunctionThread, driver: TaskDriver): Promise<void> {
    const { post } = worker;
    const task = driver.plan.name;
    try {
      await driver.start({
        start: (from) => post({ kind: "start", task: from }),
        restore: (blocks) => post({ kind: "restore", task, blocks }, [...new Set(blocks.map(({ buffer }) => buffer))]),
        begin: () => post({ kind: "begin", task }),
        block: (block) => post({ kind: "block", task, block }, [block.buffer]),
        advance: (nowMs) => post({ kind: "advance", task, nowMs }),
        committed: () => post({ kind: "committed", task }),
        skip: ({ logId, writer }, fromSequence, toSequence) =>
          post({ kind: "skip", task, logId, writer, fromSequence, toSequence }),
      });
    } catch (error) {
      // A task whose storage is damaged stops alone; the others of this worker go on.
      if (driver.state === "failed") {
        this.#options.onLog({ level: "error", message: String(error), function: this.#options.name });
      } else this.failed(error);
    }
  }

  /** A task of this worker cannot go on: all of them are run again from their journals. */
  failed(error: unknown): void {
    this.#options.onLog({
      level: "error",
      message: `the tasks start again from their journals: ${String(error)}`,
      function: this.#options.name,
    });
    void this.#worker?.terminate();
  }

  #onExit(): void {
    this.#worker = undefined;
    for (const driver of this.#drivers.values()) driver.stop();
    this.#onStopped?.();
    if (this.#closing) return;
    this.restarts++;
    this.#restartTimer = setTimeout(() => this.start(), this.#pauseMs);
    this.#pauseMs = Math.min(pauseMsMax, this.#pauseMs * 2);
  }

  /** Lets what is under way end (bounded by `deadlineMs`), commits it, and ends the thread. */
  async close(deadlineMs: number): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#restartTimer);
    const worker = this.#worker;
    if (!worker) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#onStopped = () => {
        clearTimeout(timer);
        resolve();
      };
      worker.post({ kind: "stop" });
    });
    // The last commits are appends of this thread now; they settle before the drivers let go.
    await Promise.all([...this.#drivers.values()].map((driver) => driver.close()));
    await worker.terminate();
  }
}
