/** One measurement: what a load counted and what the server's processes cost between two moments. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Percentiles } from "../generator/messages.ts";
import type { Server } from "../servers/server.ts";
import { treeCpuSeconds } from "./cpu.ts";

/** What every load can say of itself. */
export interface LoadSample {
  /** The load's own monotonic clock. */
  readonly nowMs: number;
  /** What is counted: acknowledged messages, arrivals, connections. */
  readonly acknowledged: number;
  readonly ackLatencyMs: Percentiles;
  /** CPU seconds of its process since its start. */
  readonly cpuSeconds: number;
}

/** A load in a process of its own. */
export interface Sampled<S extends LoadSample> {
  sample(options?: { readonly resetLatency: boolean }): Promise<S>;
}

export interface Measured<S extends LoadSample = LoadSample> {
  /** What was counted, a second. */
  readonly rate: number;
  readonly cpuSecondsPerMillion: number;
  /** Cores that the server's process tree kept busy, and the load's process. */
  readonly cores: number;
  readonly generatorCores: number;
  readonly ackLatencyMs: Percentiles;
  readonly end: S;
}

/** Measures for `seconds` under whatever load runs; `during` is called about four times a second. */
export async function measure<S extends LoadSample>(
  server: Server,
  load: Sampled<S>,
  seconds: number,
  signal: AbortSignal,
  during: () => Promise<void> = async () => {},
): Promise<Measured<S>> {
  await load.sample({ resetLatency: true });
  const cpuBefore = treeCpuSeconds(server.pid);
  const start = await load.sample();
  const endMs = performance.now() + seconds * 1000;
  for (let left = endMs - performance.now(); left > 0; left = endMs - performance.now()) {
    await sleep(Math.min(250, left), undefined, { signal });
    await during();
  }
  const end = await load.sample();
  const cpu = treeCpuSeconds(server.pid) - cpuBefore;
  const elapsed = (end.nowMs - start.nowMs) / 1000;
  const acknowledged = end.acknowledged - start.acknowledged;
  return {
    rate: acknowledged / elapsed,
    cpuSecondsPerMillion: acknowledged === 0 ? 0 : (cpu / acknowledged) * 1e6,
    cores: cpu / elapsed,
    generatorCores: (end.cpuSeconds - start.cpuSeconds) / elapsed,
    ackLatencyMs: end.ackLatencyMs,
    end,
  };
}
