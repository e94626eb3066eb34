/** A function worker: loads one release and hosts the tasks that its host names. */
import { parentPort, workerData } from "node:worker_threads";
import { FunctionTasks } from "./function-tasks.ts";
import { importApp } from "./import-app.ts";
import type { ToWorker } from "./messages.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");
const port = parentPort;
const definition = await importApp((workerData as { bundleUrl: string }).bundleUrl);
const tasks = new FunctionTasks(definition, (message, transfer = []) =>
  port.postMessage(message, transfer as ArrayBuffer[]),
);
port.on("message", (message: ToWorker) => tasks.onMessage(message));
