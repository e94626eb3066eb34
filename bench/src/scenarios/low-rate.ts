/** What an almost idle node costs, and how fast it still answers. */
import { median, round } from "../measure/statistics.ts";
import { combined, lossFailures } from "./combine.ts";
import { type EchoResult, echoRound } from "./echo.ts";
import type { Context, Report } from "./scenario.ts";

const secondsDefault = 20;
const rate = 2_000;
/** A command for every tenth message, and the hard case: one for every message. */
const shares = [10, 1] as const;

/** The curve of CPU against latency, beside the default of 1 ms. */
const lingersMs = [0, 2, 4] as const;

const combinedEcho = (results: readonly EchoResult[]): EchoResult => ({
  ...combined(results),
  roundTripMs: {
    p50: round(median(results.map(({ roundTripMs }) => roundTripMs.p50)), 2),
    p99: round(median(results.map(({ roundTripMs }) => roundTripMs.p99)), 2),
  },
});

export async function lowRate(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  const results = new Map<number, EchoResult[]>(shares.map((share) => [share, []]));
  for (let run = 1; run <= context.rounds; run += 1) {
    for (const askEvery of shares) {
      const result = await echoRound(context, { rate, window: 1, askEvery, seconds });
      results.get(askEvery)!.push(result);
      context.say(
        `round ${run}: a command for 1 in ${askEvery}: ${result.rate}/s, ${result.cores} cores, ack p99 ${result.ackLatencyMs.p99} ms, round trip p50 ${result.roundTripMs.p50} ms`,
      );
    }
  }
  const curve: { lingerMs: number; result: EchoResult }[] = [];
  for (const lingerMs of lingersMs) {
    const result = await echoRound(context, { rate, window: 1, askEvery: 10, seconds, lingerMs });
    curve.push({ lingerMs, result });
    context.say(
      `linger ${lingerMs} ms: ${result.cores} cores, ack p99 ${result.ackLatencyMs.p99} ms, round trip p50 ${result.roundTripMs.p50} ms`,
    );
  }
  const [headrace, everyMessage] = shares.map((share) => combinedEcho(results.get(share)!)) as [EchoResult, EchoResult];
  const cells = (name: string, { cores, ackLatencyMs, roundTripMs, ...result }: EchoResult): string[] => [
    name,
    result.rate.toLocaleString("en"),
    String(cores),
    result.cpuSecondsPerMillion.toFixed(1),
    ...[ackLatencyMs.p50, ackLatencyMs.p99, roundTripMs.p50, roundTripMs.p99].map((ms) => ms.toFixed(2)),
    result.lost === null ? "-" : String(result.lost),
  ];
  return {
    result: {
      scenario: "low-rate",
      rounds: context.rounds,
      seconds,
      answered: context.answer,
      headrace,
      headraceCommandPerMessage: everyMessage,
      curve: curve.map(({ lingerMs, result: { cores, ackLatencyMs, roundTripMs } }) => ({
        lingerMs,
        cores,
        ackLatencyMs,
        roundTripMs,
      })),
      peers: {},
      ratio: {},
    },
    table: [
      ["", "messages/s", "cores", "CPU s/million", "ack p50 ms", "ack p99 ms", "trip p50 ms", "trip p99 ms", "lost"],
      cells("a command for 1 message in 10", headrace),
      cells("a command for every message", everyMessage),
      ...curve.map(({ lingerMs, result }) => cells(`1 in 10, linger ${lingerMs} ms`, result)),
    ],
    notes: [`commands that did not come within 2 s: ${headrace.missing} and ${everyMessage.missing}`],
    failures: [
      ...lossFailures("1 in 10", headrace),
      ...lossFailures("every message", everyMessage),
      ...curve.flatMap(({ lingerMs, result }) => lossFailures(`linger ${lingerMs} ms`, result)),
    ],
  };
}
