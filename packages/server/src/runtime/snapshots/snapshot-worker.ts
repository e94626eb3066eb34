/** The thread that makes snapshots: one at a time, from what is stored, never asking a task. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { RemoteLog } from "../../log/index.ts";
import { openRpc, yieldToMessagePath } from "../../threads/index.ts";
import { type CompactRequest, compactSnapshot } from "./compact.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");

yieldToMessagePath();
const log = new RemoteLog((workerData as { logPort: MessagePort }).logPort);
let last: Promise<unknown> = Promise.resolve();
openRpc(parentPort, {
  compact: (request: CompactRequest) => {
    const next = last.then(
      () => compactSnapshot(request, log),
      () => compactSnapshot(request, log),
    );
    last = next;
    return next;
  },
});
