/** Whether the generator could be the bottleneck: its rate against a server that only acknowledges. */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "../generator/generator.ts";
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
  for (let round = 1; round <= context.rounds; round += 1) {
    await using server = await startSink();
    await using generator = await Generator.start({ ...manyInFlight, port: server.mqttPort });
    await generator.load({ kind: "closed" });
    await sleep(warmUpMs, undefined, { signal: context.signal });
    const result = resultOf(await measure(server, generator, seconds, context.signal), null);
    results.push(result);
    context.say(
      `round ${round}: ${result.rate}/s, sink ${result.cores} cores, generator ${result.generatorCores} cores`,
    );
  }
  const sink = combined(results);
  return {
    result: { scenario: "generator", rounds: context.rounds, seconds, sink },
    table: [heading, row("sink", sink)],
    notes: [
      `the generator is ${sink.rate >= enough ? "not " : ""}the bottleneck below ${enough.toLocaleString("en")}/s`,
    ],
    failures: sink.rate >= enough ? [] : [`the generator reached ${sink.rate}/s against a server that does nothing`],
  };
}
