/** Snapshots of all tasks of a node: reading at the start, and the thread that makes new ones, started when it is first needed. */
import { MessageChannel, Worker } from "node:worker_threads";
import type { Log } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { serveLog } from "../../log/index.ts";
import { openRpc, type Rpc } from "../../threads/index.ts";
import type { CompactRequest, CompactResult } from "./compact.ts";

/** When a snapshot is made: once the journal behind the last is as large as this, and as `factor` times the last. */
export interface SnapshotTrigger {
  readonly journalBytesMin: number;
  readonly factor: number;
}
export const snapshotTriggerDefault: SnapshotTrigger = { journalBytesMin: 4 * 1024 * 1024, factor: 1 };

export class Snapshots {
  readonly folder: string;
  readonly trigger: SnapshotTrigger;
  readonly #log: Log;
  #worker: Worker | undefined;
  #rpc: Rpc | undefined;
  #closed = false;

  constructor(log: Log, folder: string, trigger: SnapshotTrigger = snapshotTriggerDefault) {
    this.#log = log;
    this.folder = folder;
    this.trigger = trigger;
  }

  /** Makes the next snapshot of a task in the other thread. */
  async compact(request: CompactRequest): Promise<CompactResult> {
    if (this.#closed) throw new HeadraceError("HR_UNAVAILABLE", "the node is stopping");
    this.#rpc ??= this.#start();
    return (await this.#rpc.call("compact", [request])) as CompactResult;
  }

  #start(): Rpc {
    const file = import.meta.url.endsWith(".ts") ? "./snapshot-worker.ts" : "./snapshot-worker.js";
    const channel = new MessageChannel();
    serveLog(this.#log, channel.port1);
    channel.port1.unref();
    const worker = new Worker(new URL(file, import.meta.url), {
      name: "snapshots",
      workerData: { logPort: channel.port2 },
      transferList: [channel.port2],
    });
    worker.unref();
    worker.on("error", (error) => process.emitWarning(`the thread of the snapshots ended: ${String(error)}`));
    worker.on("exit", () => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#rpc = undefined;
    });
    this.#worker = worker;
    return openRpc(worker);
  }

  /** Ends the thread; a snapshot under way is given up, which leaves the ones before. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker?.terminate();
  }
}
