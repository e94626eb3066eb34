/** Whether the generator could be the bottleneck: its rate against a server that only acknowledges. */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "../generator/generator.ts";
import { round } from "../measure/statistics.ts";
import { measure } from "../measure/window.ts";
import { startSink } from "../servers/sink.ts";
import { combined, heading, resultOf, row } from "./combine.ts";
import { manyInFlight, warmUpMs } from "./peers.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";

const secondsDefault = 5;
/** The bench wants twice what it expects of the fastest server. */
const enough = 2_000_000;

export async function generatorSelfTest(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  const results: SystemResult[] = [];
  for (let run = 1; run <= context.rounds; run += 1) {
    await using server = await startSink();
    await using generator = await Generator.start({ ...manyInFlight, port: server.mqttPort });
    await generator.load({ kind: "closed" });
    await sleep(warmUpMs, undefined, { signal: context.signal });
    const result = resultOf(await measure(server, generator, seconds, context.signal), null);
    results.push(result);
    context.say(`round ${run}: ${result.rate}/s, sink ${result.cores} cores, generator ${result.generatorCores} cores`);
  }
  const sink = combined(results);
  // On a machine that others use as well, only the CPU time says what the generator could do.
  const perCore = round(sink.rate / Number(sink.generatorCores));
  const isEnough = Math.max(sink.rate, perCore) >= enough;
  return {
    result: { scenario: "generator", rounds: context.rounds, seconds, sink, generatorRatePerCore: perCore },
    table: [heading, row("sink", sink)],
    notes: [
      `generator: ${sink.generatorCores} cores busy, ${perCore.toLocaleString("en")} messages for each second of its CPU time`,
      `it is ${isEnough ? "not " : ""}the bottleneck below ${enough.toLocaleString("en")}/s`,
    ],
    failures: isEnough ? [] : [`the generator takes a second of CPU time for ${perCore} messages`],
  };
}
