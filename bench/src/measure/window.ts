/** One measurement: what the generator counted and what the server's processes cost between two moments. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Generator } from "../generator/generator.ts";
import type { Percentiles, Sample } from "../generator/messages.ts";
import type { Server } from "../servers/server.ts";
import { treeCpuSeconds } from "./cpu.ts";

export interface Measured {
  /** Acknowledged messages a second. */
  readonly rate: number;
  readonly cpuSecondsPerMillion: number;
  /** Cores that the server's process tree kept busy, and the generator's. */
  readonly cores: number;
  readonly generatorCores: number;
  readonly ackLatencyMs: Percentiles;
  readonly roundTripMs: Percentiles;
  readonly end: Sample;
}

/** Measures for `seconds` under whatever load runs; `during` is called about four times a second. */
export async function measure(
  server: Server,
  generator: Generator,
  seconds: number,
  signal: AbortSignal,
  during: () => Promise<void> = async () => {},
): Promise<Measured> {
  await generator.sample({ resetLatency: true });
  const cpuBefore = treeCpuSeconds(server.pid);
  const start = await generator.sample();
  const endMs = performance.now() + seconds * 1000;
  for (let left = endMs - performance.now(); left > 0; left = endMs - performance.now()) {
    await sleep(Math.min(250, left), undefined, { signal });
    await during();
  }
  const end = await generator.sample();
  const cpu = treeCpuSeconds(server.pid) - cpuBefore;
  const elapsed = (end.nowMs - start.nowMs) / 1000;
  const acknowledged = end.acknowledged - start.acknowledged;
  return {
    rate: acknowledged / elapsed,
    cpuSecondsPerMillion: acknowledged === 0 ? 0 : (cpu / acknowledged) * 1e6,
    cores: cpu / elapsed,
    generatorCores: (end.cpuSeconds - start.cpuSeconds) / elapsed,
    ackLatencyMs: end.ackLatencyMs,
    roundTripMs: end.roundTripMs,
    end,
  };
}
