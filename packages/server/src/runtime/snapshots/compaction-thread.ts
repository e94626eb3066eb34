/** Makes snapshots in a thread of its own, started when it is first needed, and again when it has died. */
import { MessageChannel, Worker } from "node:worker_threads";
import type { Log } from "@headrace/engine";
import { serveLog } from "../../log/index.ts";
import { openRpc, type Rpc } from "../../threads/index.ts";
import type { Compactor, CompactRequest, CompactResult } from "./compact.ts";

export class CompactionThread implements Compactor {
  readonly #log: Log;
  #worker: Worker | undefined;
  #rpc: Rpc | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  async compact(request: CompactRequest): Promise<CompactResult> {
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

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }
}
