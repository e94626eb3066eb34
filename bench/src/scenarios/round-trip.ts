/** From a device's publish over a durable commit to the command in its hands. */
import type { Percentiles } from "../generator/messages.ts";
import { median, round } from "../measure/statistics.ts";
import { combined, lossFailures } from "./combine.ts";
import { type EchoResult, echoRound } from "./echo.ts";
import type { Context, Report } from "./scenario.ts";

const secondsDefault = 20;
const rates = [2_000, 10_000] as const;
const window = 10;

export async function roundTrip(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  const results = new Map<number, EchoResult[]>(rates.map((rate) => [rate, []]));
  for (let run = 1; run <= context.rounds; run += 1) {
    for (const rate of rates) {
      const result = await echoRound(context, { rate, window, askEvery: 1, seconds });
      results.get(rate)!.push(result);
      context.say(
        `round ${run}: ${rate}/s: ${result.rate}/s acknowledged, round trip p50 ${result.roundTripMs.p50} ms, p99 ${result.roundTripMs.p99} ms, ${result.missing} missing`,
      );
    }
  }
  const middle = (rate: number, value: (trip: Percentiles) => number): number =>
    round(median(results.get(rate)!.map(({ roundTripMs }) => value(roundTripMs))), 2);
  const roundTripMs = Object.fromEntries(
    rates.map((rate) => [String(rate), { p50: middle(rate, ({ p50 }) => p50), p99: middle(rate, ({ p99 }) => p99) }]),
  );
  const byRate = rates.map((rate) => [rate, combined(results.get(rate)!)] as const);
  return {
    result: {
      scenario: "round-trip",
      rounds: context.rounds,
      seconds,
      answered: context.answer,
      roundTripMs,
      headrace: byRate.at(-1)![1],
      headraceByRate: Object.fromEntries(byRate.map(([rate, result]) => [String(rate), result])),
      peers: {},
      ratio: {},
    },
    table: [
      [
        "messages/s asked",
        "acknowledged/s",
        "trip p50 ms",
        "trip p99 ms",
        "ack p50 ms",
        "ack p99 ms",
        "cores",
        "missing",
        "lost",
      ],
      ...byRate.map(([rate, result]) => [
        String(rate),
        String(result.rate),
        ...[roundTripMs[rate]!.p50, roundTripMs[rate]!.p99].map((ms) => ms.toFixed(2)),
        ...[result.ackLatencyMs.p50, result.ackLatencyMs.p99].map((ms) => ms.toFixed(2)),
        String(result.cores),
        String(result.missing),
        result.lost === null ? "-" : String(result.lost),
      ]),
    ],
    notes: ["missing: commands that did not come within 2 s of the last message"],
    failures: byRate.flatMap(([rate, result]) => [
      ...lossFailures(`${rate}/s`, result),
      ...(result.rate < rate * 0.98 ? [`${rate}/s: only ${result.rate}/s were acknowledged`] : []),
    ]),
  };
}
