/** The lake's thread. */
import { type MessagePort, workerData } from "node:worker_threads";
import { RemoteLog } from "../log/index.ts";
import { errorToWire, openRpc, poolYieldsToMessagePath, yieldToMessagePath } from "../threads/index.ts";
import type { LakeStats, LakeStream, TrimmableChannel } from "./options.ts";
import { LakeStore } from "./store.ts";
import { LakeWriter } from "./writer.ts";

/** What the thread is started with. */
export interface WorkerData {
  readonly folder: string;
  readonly streams: readonly LakeStream[];
  readonly flushRows: number;
  readonly flushIntervalMs: number;
  readonly logPort: MessagePort;
  readonly hostPort: MessagePort;
  readonly exitFlags: Int32Array;
}

const { folder, logPort, hostPort, exitFlags, ...options } = workerData as WorkerData;
yieldToMessagePath();
let writer: LakeWriter | undefined;
const log = new RemoteLog(logPort);
const opened = (async () => {
  writer = new LakeWriter(log, await LakeStore.open(folder, exitFlags), {
    ...options,
    report: (stats: LakeStats) => rpc.emit("stats", [stats]),
    trimmable: (channels: readonly TrimmableChannel[]) => rpc.emit("trimmable", [channels]),
    fail: (error: unknown) => rpc.emit("failed", [errorToWire(error)]),
  });
  poolYieldsToMessagePath();
  await writer.start();
  return writer;
})();
opened.catch(() => undefined);

const rpc = openRpc(hostPort, {
  start: async () => {
    await opened;
  },
  flush: async () => (await opened).flush(),
  beginQuery: async (sql: string) => (await opened).beginQuery(sql),
  endQuery: async () => (await opened).endQuery(),
  findDamage: async (sql: string) => (await opened).findDamage(sql),
  close: async () => {
    await writer?.close();
    log.close();
    setImmediate(() => hostPort.close());
  },
});
