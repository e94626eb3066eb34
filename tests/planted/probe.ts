/** Says whether a bug is planted here, and in a worker thread without environment: for the test of the mechanism. */
import { isMainThread, Worker } from "node:worker_threads";
import { Task } from "@headrace/engine";

console.log(`${isMainThread} ${Task.prototype.advance.toString().includes("dueMs: undefined")}`);
if (isMainThread) new Worker(new URL(import.meta.url), { env: {} });
