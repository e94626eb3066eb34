/** Starts a function worker: in a thread of its own; the simulation brings another way (ADR 0013). */
import { Worker } from "node:worker_threads";
import type { FromWorker, ToWorker } from "./messages.ts";

export interface FunctionThread {
  post(message: ToWorker, transfer?: readonly ArrayBufferLike[]): void;
  /** Ends it at once; `onExit` follows. */
  terminate(): Promise<void>;
}

export interface FunctionThreadEvents {
  readonly onMessage: (message: FromWorker) => void;
  /** What it wrote, and why it died. */
  readonly onOutput: (level: "info" | "error", text: string) => void;
  readonly onExit: () => void;
}

export type StartFunctionThread = (name: string, bundleUrl: string, events: FunctionThreadEvents) => FunctionThread;

export const startFunctionThread: StartFunctionThread = (name, bundleUrl, { onMessage, onOutput, onExit }) => {
  const file = import.meta.url.endsWith(".ts") ? "./function-worker.ts" : "./function-worker.js";
  const worker = new Worker(new URL(file, import.meta.url), {
    name,
    workerData: { bundleUrl },
    env: {},
    execArgv: [...process.execArgv, "--enable-source-maps"],
    stdout: true,
    stderr: true,
  });
  for (const [stream, level] of [
    [worker.stdout, "info"],
    [worker.stderr, "error"],
  ] as const) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => onOutput(level, text.trimEnd()));
  }
  worker.on("message", onMessage);
  worker.on("error", (error) => onOutput("error", error.stack ?? String(error)));
  worker.on("exit", onExit);
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer as ArrayBuffer[]),
    terminate: async () => {
      await worker.terminate();
    },
  };
};
