/** How many messages a second are stored durably, against mosquitto, which stores nothing. */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "../generator/generator.ts";
import { measure } from "../measure/window.ts";
import { startHeadrace } from "../servers/headrace.ts";
import { killAndReadBack } from "./aftermath.ts";
import { combined, heading, lossFailures, ratio, resultOf, row } from "./combine.ts";
import { manyInFlight, mosquittoRound, warmUpMs } from "./peers.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";

const secondsDefault = 10;

async function headraceRound(context: Context, seconds: number): Promise<SystemResult> {
  await using folder = context.folder();
  const { profileFolder } = context;
  const options = { application: "ingest" as const, dataFolder: folder.path };
  await using server = await startHeadrace({ ...options, ...(profileFolder !== undefined && { profileFolder }) });
  await using generator = await Generator.start({ ...manyInFlight, port: server.mqttPort });
  await generator.load({ kind: "closed" });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  const measured = await measure(server, generator, seconds, context.signal);
  // Work that was put off does not show in the CPU time of the window: say how much there was.
  const { lake, log } = await server.status();
  const survived = await killAndReadBack(context, server, generator, options);
  return resultOf(measured, survived?.lost ?? null, {
    doubled: survived?.doubled ?? 0,
    lakeLagRows: lake.lagRows,
    syncMsP50: log.syncMsP50,
    syncMsP99: log.syncMsP99,
  });
}

export async function ingest(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  const headraces: SystemResult[] = [];
  const plains: SystemResult[] = [];
  const persistents: SystemResult[] = [];
  for (let round = 1; round <= context.rounds; round += 1) {
    const say = (name: string, { rate, cores, generatorCores }: SystemResult): void =>
      context.say(`round ${round}: ${name} ${rate}/s, server ${cores} cores, generator ${generatorCores} cores`);
    headraces.push(await headraceRound(context, seconds));
    say("headrace", headraces.at(-1)!);
    plains.push(await mosquittoRound(context, false, seconds));
    say("mosquitto", plains.at(-1)!);
    persistents.push(await mosquittoRound(context, true, seconds));
    say("mosquitto with persistence", persistents.at(-1)!);
  }
  const headrace = combined(headraces);
  const mosquitto = combined(plains);
  const mosquittoPersistent = combined(persistents);
  return {
    result: {
      scenario: "ingest",
      rounds: context.rounds,
      seconds,
      headrace,
      peers: { mosquitto, mosquittoPersistent },
      ratio: { mosquitto: ratio(headrace, mosquitto), mosquittoPersistent: ratio(headrace, mosquittoPersistent) },
    },
    table: [
      heading,
      row("headrace, durable", headrace),
      row("mosquitto", mosquitto),
      row("mosquitto with persistence", mosquittoPersistent),
    ],
    notes: [
      `headrace / mosquitto: ${ratio(headrace, mosquitto)}; with persistence: ${ratio(headrace, mosquittoPersistent)}`,
      `rows that the lake had not taken at the end of the window: ${headrace.lakeLagRows}`,
    ],
    failures: lossFailures("headrace", headrace),
  };
}
