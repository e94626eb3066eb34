/** Joins the lake's thread and its query process. */
import { resolve } from "node:path";
import { MessageChannel, Worker } from "node:worker_threads";
import { HeadraceError } from "@headrace/sdk";
import type { QueryResult } from "../control.ts";
import { errorFromWire, openRpc } from "../threads/index.ts";
import { makeExitFlags, stopWrites } from "./exit-guard.ts";
import type { Lake, LakeOptions, LakeStats, TrimmableChannel } from "./options.ts";
import { QueryClient } from "./query-client.ts";
import type { WorkerData } from "./worker.ts";

const queriesWaitingMax = 32;
const sqlBytesMax = 256 * 1024;

/**
 * Opens the lake and starts to follow the logs of `streams`, which are made if absent.
 * @throws HR_LAKE_CORRUPT when the manifest is damaged
 */
export const openLake = async (options: LakeOptions): Promise<Lake> => {
  const folder = resolve(options.folder);
  const { memoryBytes = 256 * 1024 * 1024, timeoutMs = 30_000, rowsMax = 10_000 } = options.query ?? {};
  const { port1: port, port2: hostPort } = new MessageChannel();
  const exitFlags = makeExitFlags();
  const onExit = (): void => stopWrites(exitFlags);
  process.on("exit", onExit);
  const worker = new Worker(new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js", import.meta.url), {
    name: "lake",
    workerData: {
      folder,
      streams: options.streams.map(({ name, partitions, columns, table, retainAgeMs }) => ({
        name,
        partitions,
        columns,
        table,
        retainAgeMs,
      })),
      flushRows: options.flushRows ?? 250_000,
      flushIntervalMs: options.flushIntervalMs ?? 10_000,
      logPort: options.logPort,
      hostPort,
      exitFlags,
    } satisfies WorkerData,
    transferList: [options.logPort, hostPort],
  });

  let stats: LakeStats = { rows: 0, files: 0, bytes: 0, lagRows: 0, rowsByStream: {} };
  let failure: Error | undefined;
  let isStarted = false;
  const known = new Map<string, TrimmableChannel>();
  const listeners = new Set<(channels: readonly TrimmableChannel[]) => void>();
  const rpc = openRpc(
    port,
    {},
    {
      stats: (latest: LakeStats) => {
        stats = latest;
      },
      trimmable: (channels: TrimmableChannel[]) => {
        for (const channel of channels) known.set(`${channel.logId}/${channel.writer}`, channel);
        for (const listener of listeners) listener(channels);
      },
      failed: (error: Parameters<typeof errorFromWire>[0]) => fail(errorFromWire(error)),
    },
  );
  const fail = (error: Error): void => {
    if (failure) return;
    failure = error;
    void worker.terminate();
    if (isStarted) options.onFailed?.(error);
  };
  worker.on("error", fail);
  worker.once("exit", () => {
    if (!closed) fail(new Error("its thread has ended"));
  });
  worker.once("exit", () => rpc.close());

  const client = new QueryClient({ folder, memoryBytes });
  let closed: Promise<void> | undefined;
  let waiting = 0;
  let turn: Promise<unknown> = Promise.resolve();
  const assertOpen = (): void => {
    if (closed || failure) throw new HeadraceError("HR_UNAVAILABLE", "the lake has stopped", { cause: failure });
  };

  const runQuery = async (sql: string, limits: { rowsMax?: number; timeoutMs?: number }): Promise<QueryResult> => {
    assertOpen();
    const startedMs = performance.now();
    const views = (await rpc.call("beginQuery", [sql])) as string[];
    try {
      const request = { sql, views, rowsMax: Math.min(limits.rowsMax ?? rowsMax, rowsMax) };
      const answer = await client.run(request, Math.min(limits.timeoutMs ?? timeoutMs, timeoutMs));
      return { ...answer, elapsedMs: performance.now() - startedMs };
    } catch (error) {
      if (error instanceof HeadraceError && error.code === "HR_QUERY_FAILED") {
        const path = await rpc.call("findDamage", [sql]);
        if (typeof path === "string")
          throw new HeadraceError("HR_LAKE_CORRUPT", `${path} is damaged or missing: ${error.message}`, {
            cause: error,
            data: { path },
          });
      }
      throw error;
    } finally {
      await rpc.call("endQuery", []).catch(() => undefined);
    }
  };

  const close = async (): Promise<void> => {
    client.close();
    listeners.clear();
    if (!failure) await rpc.call("close", []).catch(() => undefined);
    await worker.terminate();
    process.off("exit", onExit);
    rpc.close();
  };

  const lake: Lake = {
    query: async (sql, limits = {}) => {
      assertOpen();
      if (sql.length > sqlBytesMax)
        throw new HeadraceError(
          "HR_QUERY_FAILED",
          `a query has at most ${sqlBytesMax} characters, this one has ${sql.length}`,
        );
      if (waiting >= queriesWaitingMax)
        throw new HeadraceError("HR_OVERLOADED", `${queriesWaitingMax} queries wait already`);
      waiting++;
      const result = turn.then(() => runQuery(sql, limits));
      turn = result.catch(() => undefined);
      try {
        return await result;
      } finally {
        waiting--;
      }
    },
    stats: () => stats,
    flush: async () => {
      assertOpen();
      await rpc.call("flush", []);
    },
    onTrimmable: (listener) => {
      listeners.add(listener);
      if (known.size > 0) listener([...known.values()]);
      return () => listeners.delete(listener);
    },
    [Symbol.asyncDispose]: () => (closed ??= close()),
  };
  try {
    await rpc.call("start", []);
    isStarted = true;
  } catch (error) {
    await lake[Symbol.asyncDispose]();
    throw failure ?? error;
  }
  return lake;
};
