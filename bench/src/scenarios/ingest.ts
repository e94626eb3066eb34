/** How many messages a second are taken in: stored durably by Headrace, taken by its peers. */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "../generator/generator.ts";
import type { GeneratorOptions } from "../generator/messages.ts";
import { measure } from "../measure/window.ts";
import { startHeadrace } from "../servers/headrace.ts";
import { killAndReadBack } from "./aftermath.ts";
import { resultOf } from "./combine.ts";
import { chosenLoads, compare, type NamedLoad } from "./compare.ts";
import { manyInFlight, warmUpMs } from "./peers.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";
import { type System, systemsOf } from "./systems.ts";

const secondsDefault = 10;
/** QoS 0 is not promised: until what the server has read is stored. */
const settleMs = 2_000;

interface IngestLoad extends NamedLoad {
  readonly options: Omit<GeneratorOptions, "port">;
}

const load = (qos: 0 | 1, connections: number, window: number): IngestLoad => ({
  key: `qos${qos}-${connections}x${window}`,
  title: `QoS ${qos}, ${connections} x ${window}`,
  options: { ...manyInFlight, qos, connections, window },
});

const loads = [load(1, 100, 50), load(0, 100, 50), load(1, 1_000, 1), load(0, 1_000, 1)];

async function headraceRound(
  context: Context,
  gateways: number,
  { options: wanted }: IngestLoad,
  seconds: number,
): Promise<SystemResult> {
  await using folder = context.folder();
  const { profileFolder } = context;
  const options = { application: "ingest" as const, dataFolder: folder.path, gateways };
  await using server = await startHeadrace({ ...options, ...(profileFolder !== undefined && { profileFolder }) });
  await using generator = await Generator.start({ ...wanted, port: server.mqttPort });
  await generator.load({ kind: "closed" });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  const measured = await measure(server, generator, seconds, context.signal);
  // Work that was put off does not show in the CPU time of the window: say how much there was.
  const { lake, log } = await server.status();
  if (wanted.qos === 0) {
    await generator.load({ kind: "idle" });
    await sleep(settleMs, undefined, { signal: context.signal });
  }
  const survived = await killAndReadBack(context, server, generator, options);
  return resultOf(measured, survived?.lost ?? null, {
    doubled: survived?.doubled ?? 0,
    lakeLagRows: lake.lagRows,
    syncMsP50: log.syncMsP50,
    syncMsP99: log.syncMsP99,
  });
}

/** A peer keeps nothing of these messages where it could be read back. */
async function peerRound(context: Context, system: System, load: IngestLoad, seconds: number): Promise<SystemResult> {
  await using folder = context.folder();
  await using server = await system.start(folder.path);
  await using generator = await Generator.start({ ...load.options, port: server.mqttPort });
  await generator.load({ kind: "closed" });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  return resultOf(await measure(server, generator, seconds, context.signal), null);
}

export function ingest(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  return compare(context, {
    scenario: "ingest",
    seconds,
    loads: chosenLoads(loads, context),
    systems: systemsOf(context),
    run: (system, wanted) =>
      system.gateways === undefined
        ? peerRound(context, system, wanted, seconds)
        : headraceRound(context, system.gateways, wanted, seconds),
  });
}
