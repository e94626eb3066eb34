/** Rounds into one result, and results into rows. */
import { median, round } from "../measure/statistics.ts";
import type { Measured } from "../measure/window.ts";
import type { SystemResult } from "./scenario.ts";

export const resultOf = (
  measured: Measured,
  lost: number | null,
  more: Record<string, unknown> = {},
): SystemResult => ({
  rate: round(measured.rate),
  cpuSecondsPerMillion: round(measured.cpuSecondsPerMillion, 3),
  ackLatencyMs: { p50: round(measured.ackLatencyMs.p50, 2), p99: round(measured.ackLatencyMs.p99, 2) },
  lost,
  cores: round(measured.cores, 2),
  generatorCores: round(measured.generatorCores, 2),
  ...more,
});

/** The median of every number over the rounds; losses add up. */
export function combined(results: readonly SystemResult[]): SystemResult {
  const of = (value: (result: SystemResult) => number): number => median(results.map(value));
  const first = results[0]!;
  const numbers = Object.entries(first).filter(([, value]) => typeof value === "number");
  return {
    ...first,
    ...Object.fromEntries(
      numbers.map(([name]) => [
        name,
        round(
          of((result) => Number(result[name])),
          3,
        ),
      ]),
    ),
    rate: round(of(({ rate }) => rate)),
    cpuSecondsPerMillion: round(
      of(({ cpuSecondsPerMillion }) => cpuSecondsPerMillion),
      3,
    ),
    ackLatencyMs: {
      p50: round(
        of(({ ackLatencyMs }) => ackLatencyMs.p50),
        2,
      ),
      p99: round(
        of(({ ackLatencyMs }) => ackLatencyMs.p99),
        2,
      ),
    },
    lost: first.lost === null ? null : results.reduce((sum, { lost }) => sum + (lost ?? 0), 0),
    rates: results.map(({ rate }) => rate),
  };
}

export const heading = ["", "messages/s", "CPU s/million", "ack p50 ms", "ack p99 ms", "lost"];

export const row = (name: string, result: SystemResult): string[] => [
  name,
  result.rate.toLocaleString("en"),
  result.cpuSecondsPerMillion.toFixed(2),
  result.ackLatencyMs.p50.toFixed(2),
  result.ackLatencyMs.p99.toFixed(2),
  result.lost === null ? "-" : String(result.lost),
];

export const ratio = (ours: SystemResult, theirs: SystemResult): number => round(ours.rate / theirs.rate, 2);

/** Failures that every scenario with a stream shares. */
export const lossFailures = (name: string, { lost, doubled }: SystemResult): string[] => [
  ...(lost !== null && lost > 0 ? [`${name}: ${lost} acknowledged messages were gone after kill -9`] : []),
  ...(typeof doubled === "number" && doubled > 0 ? [`${name}: ${doubled} messages were stored more than once`] : []),
];
