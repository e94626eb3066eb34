/** Whether a load could be the bottleneck: what each does against a server that only acknowledges and passes on. */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "../generator/generator.ts";
import { round } from "../measure/statistics.ts";
import { measure } from "../measure/window.ts";
import { startSink } from "../servers/sink.ts";
import { combined, heading, resultOf, row } from "./combine.ts";
import { chosenLoads } from "./compare.ts";
import { connectRound } from "./connect.ts";
import { shapes, trafficRound } from "./fan.ts";
import { manyInFlight, warmUpMs } from "./peers.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";

const secondsDefault = 5;
/** The bench wants twice what it expects of the fastest server. */
const enough = 2_000_000;
const sink = { start: startSink };

async function closedLoop(context: Context, seconds: number): Promise<SystemResult> {
  await using server = await startSink();
  await using generator = await Generator.start({ ...manyInFlight, port: server.mqttPort });
  await generator.load({ kind: "closed" });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  return resultOf(await measure(server, generator, seconds, context.signal), null);
}

const loads = [
  { key: "ingest", title: "ingest, QoS 1", run: closedLoop },
  ...Object.values(shapes).flatMap((ends) =>
    ([0, 1] as const).map((qos) => ({
      key: `${ends.shape}-qos${qos}`,
      title: `${ends.shape}, QoS ${qos}`,
      run: (context: Context, seconds: number) => trafficRound(context, sink, { ...ends, qos }, seconds),
    })),
  ),
  {
    key: "connect",
    title: "connect",
    run: (context: Context, seconds: number) => connectRound(context, sink, seconds),
  },
];

export async function generatorSelfTest(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  const chosen = chosenLoads(loads, context);
  const results = chosen.map((): SystemResult[] => []);
  for (let run = 1; run <= context.rounds; run += 1) {
    for (const [index, { title, run: measureOnce }] of chosen.entries()) {
      const result = await measureOnce(context, seconds);
      results[index]!.push(result);
      context.say(
        `round ${run}, ${title}: ${result.rate}/s, sink ${result.cores} cores, load ${result.generatorCores} cores`,
      );
    }
  }
  const rows = chosen.map(({ key, title }, index) => {
    const result = combined(results[index]!);
    // On a machine that others use as well, only the CPU time says what the load could do.
    const perCore = round(result.rate / Number(result.generatorCores));
    return { key, title, result, perCore };
  });
  const ingest = rows.find(({ key }) => key === "ingest");
  const best = ingest === undefined ? enough : Math.max(ingest.result.rate, ingest.perCore);
  return {
    result: {
      scenario: "generator",
      rounds: context.rounds,
      seconds,
      ...(ingest && { sink: ingest.result, generatorRatePerCore: ingest.perCore }),
      rows: rows.map(({ key, result, perCore }) => ({ load: key, sink: result, ratePerCore: perCore })),
    },
    table: [
      [...heading, "load, /s of CPU"],
      ...rows.map(({ title, result, perCore }) => [...row(title, result), perCore.toLocaleString("en")]),
    ],
    notes: ["the last column is what a load could do with a core of its own"],
    failures: best >= enough ? [] : [`the generator takes a second of CPU time for ${best} messages`],
  };
}
