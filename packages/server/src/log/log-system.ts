/** What the log takes of the machine: files, a thread for its maintenance, random numbers. The simulation brings its own (ADR 0013). */
import { randomInt } from "node:crypto";
import { Worker } from "node:worker_threads";
import type { Files } from "@headrace/engine";
import { openRpc } from "../threads/index.ts";
import type { HistorySummary } from "./history-summary.ts";
import type { Maintenance } from "./maintenance.ts";
import { nodeFiles } from "./node-files.ts";
import { type Syncer, SyncThread } from "./sync-thread.ts";

export interface LogSystem {
  readonly files: Files;
  readonly startMaintenance: () => Maintenance;
  /** Starts the thread that syncs; absent: groups are synced by the thread that writes them. */
  readonly startSync?: () => Syncer;
  /** A random number of 32 bits. */
  readonly random32: () => number;
}

const startMaintenanceThread = (): Maintenance => {
  const file = import.meta.url.endsWith(".ts") ? "./maintenance-worker.ts" : "./maintenance-worker.js";
  const worker = new Worker(new URL(file, import.meta.url), { name: "log-maintenance" });
  worker.unref();
  const rpc = openRpc(worker);
  let compression: Promise<unknown> | undefined;
  return {
    prepare: async (...args) => {
      await rpc.call("prepare", args);
    },
    rewrite: (request) => {
      const files = rpc.call("rewrite", [request]) as Promise<HistorySummary[]>;
      compression = files;
      return files;
    },
    removeSegment: async (...args) => {
      await rpc.call("removeSegment", args);
    },
    dropHistory: async (...args) => {
      await rpc.call("dropHistory", args);
    },
    close: async () => {
      // Node aborts the process when a thread is torn down inside a compression.
      await compression?.catch(() => undefined);
      await worker.terminate();
    },
  };
};

export const nodeLogSystem: LogSystem = {
  files: nodeFiles,
  startMaintenance: startMaintenanceThread,
  random32: () => randomInt(2 ** 32),
};

/** For a thread that has more to do than to write the log. */
export const syncingLogSystem: LogSystem = { ...nodeLogSystem, startSync: () => new SyncThread() };
