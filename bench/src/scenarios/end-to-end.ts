/** The rate at which stateful functions keep up with durable input, held for a minute. */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "../generator/generator.ts";
import { round as rounded } from "../measure/statistics.ts";
import { type Application, startHeadrace } from "../servers/headrace.ts";
import { killAndReadBack } from "./aftermath.ts";
import { combined, heading, lossFailures, ratio, resultOf, row } from "./combine.ts";
import { manyInFlight, mosquittoRound } from "./peers.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";
import { drained, sustained } from "./sustained.ts";

const secondsDefault = 60;
const mosquittoSeconds = 10;
/** How long the load runs on before the kill. */
const killedAfterMs = 1_000;

async function headraceRound(context: Context, application: Application, seconds: number): Promise<SystemResult> {
  await using folder = context.folder();
  const { profileFolder } = context;
  const options = { application, dataFolder: folder.path };
  await using server = await startHeadrace({ ...options, ...(profileFolder !== undefined && { profileFolder }) });
  await using generator = await Generator.start({ ...manyInFlight, port: server.mqttPort });
  const { measured, lagSecondsMax } = await sustained(context, server, generator, seconds);
  await drained(server, generator, context.signal);
  const { acknowledged } = await generator.sample();
  const status = await server.status();
  const processed = Math.min(
    ...status.tasks.filter(({ stream }) => stream === "readings").map((task) => task.processed),
  );
  await generator.load({ kind: "closed" });
  await sleep(killedAfterMs, undefined, { signal: context.signal });
  const survived = await killAndReadBack(context, server, generator, options);
  return resultOf(measured, survived?.lost ?? null, {
    doubled: survived?.doubled ?? 0,
    lagSecondsMax: rounded(lagSecondsMax, 3),
    acknowledged,
    processed,
    rejected: status.rejected,
    processedDifference: acknowledged - processed,
    lakeLagRows: status.lake.lagRows,
  });
}

export async function endToEnd(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  const ones: SystemResult[] = [];
  const fives: SystemResult[] = [];
  const plains: SystemResult[] = [];
  const persistents: SystemResult[] = [];
  for (let round = 1; round <= context.rounds; round += 1) {
    context.say(`round ${round}: headrace, one function`);
    ones.push(await headraceRound(context, "one-function", seconds));
    context.say(`round ${round}: mosquitto`);
    plains.push(await mosquittoRound(context, false, mosquittoSeconds));
    persistents.push(await mosquittoRound(context, true, mosquittoSeconds));
    context.say(`round ${round}: headrace, five functions`);
    fives.push(await headraceRound(context, "five-functions", seconds));
  }
  const headrace = combined(ones);
  const headraceFive = combined(fives);
  const mosquitto = combined(plains);
  const mosquittoPersistent = combined(persistents);
  const unequal = (name: string, { processedDifference }: SystemResult): string[] =>
    processedDifference === 0 ? [] : [`${name}: acknowledged and processed differ by ${processedDifference}`];
  return {
    result: {
      scenario: "end-to-end",
      rounds: context.rounds,
      seconds,
      headrace,
      headraceFiveFunctions: headraceFive,
      peers: { mosquitto, mosquittoPersistent },
      ratio: { mosquitto: ratio(headrace, mosquitto), mosquittoPersistent: ratio(headrace, mosquittoPersistent) },
    },
    table: [
      heading,
      row("headrace, one function", headrace),
      row("headrace, five functions", headraceFive),
      row("mosquitto", mosquitto),
      row("mosquitto with persistence", mosquittoPersistent),
    ],
    notes: [
      `one function: lag up to ${headrace.lagSecondsMax} s of input, acknowledged - processed = ${headrace.processedDifference}`,
      `five functions: lag up to ${headraceFive.lagSecondsMax} s of input, acknowledged - processed = ${headraceFive.processedDifference}`,
      `headrace with one function / mosquitto: ${ratio(headrace, mosquitto)}`,
    ],
    failures: [
      ...lossFailures("one function", headrace),
      ...lossFailures("five functions", headraceFive),
      ...unequal("one function", headrace),
      ...unequal("five functions", headraceFive),
    ],
  };
}
