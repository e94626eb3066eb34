/** The thread that makes groups durable: waits for a descriptor, syncs it, says so. It does nothing else, so it is always there at once. */
import { fdatasyncSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { syncClose, syncCounter, syncDescriptor } from "./sync-thread.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");

const shared = new Int32Array((workerData as { shared: SharedArrayBuffer }).shared);
for (let last = 0; ; ) {
  Atomics.wait(shared, syncCounter, last);
  last = Atomics.load(shared, syncCounter);
  const descriptor = Atomics.load(shared, syncDescriptor);
  if (descriptor === syncClose) break;
  let failure: string | undefined;
  try {
    fdatasyncSync(descriptor);
  } catch (error) {
    failure = String(error);
  }
  parentPort.postMessage(failure);
}
