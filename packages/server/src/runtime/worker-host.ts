/** A worker thread with the tasks of one function: started, watched, started again with a growing pause when it dies. */
import { Worker } from "node:worker_threads";
import type { FromWorker, ToWorker } from "./messages.ts";
import type { TaskDriver } from "./task-driver.ts";

export interface WorkerHostOptions {
  readonly name: string;
  readonly bundleUrl: string;
  readonly drivers: readonly TaskDriver[];
  readonly onLog: (entry: { level: string; message: string; function: string }) => void;
}

const pauseMsMin = 100;
const pauseMsMax = 5000;

export class WorkerHost {
  readonly #options: WorkerHostOptions;
  readonly #drivers: Map<string, TaskDriver>;
  #worker: Worker | undefined;
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
    const file = import.meta.url.endsWith(".ts") ? "./function-worker.ts" : "./function-worker.js";
    const worker = new Worker(new URL(file, import.meta.url), {
      name: this.#options.name,
      workerData: { bundleUrl: this.#options.bundleUrl },
      env: {},
      execArgv: [...process.execArgv, "--enable-source-maps"],
      stdout: true,
      stderr: true,
    });
    this.#worker = worker;
    for (const [stream, level] of [
      [worker.stdout, "info"],
      [worker.stderr, "error"],
    ] as const) {
      stream.setEncoding("utf8");
      stream.on("data", (text: string) =>
        this.#options.onLog({ level, message: text.trimEnd(), function: this.#options.name }),
      );
    }
    worker.on("message", (message: FromWorker) => this.#onMessage(worker, message));
    worker.on("error", (error) =>
      this.#options.onLog({ level: "error", message: error.stack ?? String(error), function: this.#options.name }),
    );
    worker.on("exit", () => {
      if (this.#worker === worker) this.#onExit();
    });
  }

  #onMessage(worker: Worker, message: FromWorker): void {
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

  async #startTask(worker: Worker, driver: TaskDriver): Promise<void> {
    const post = (message: ToWorker, transfer: readonly ArrayBufferLike[] = []): void =>
      worker.postMessage(message, transfer as ArrayBuffer[]);
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
      worker.postMessage({ kind: "stop" } satisfies ToWorker);
    });
    // The last commits are appends of this thread now; they settle before the drivers let go.
    await Promise.all([...this.#drivers.values()].map((driver) => driver.settled()));
    for (const driver of this.#drivers.values()) driver.stop();
    await worker.terminate();
  }
}
