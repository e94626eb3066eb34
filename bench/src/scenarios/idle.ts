/** What connections cost that do nothing but send a ping once a minute: memory and CPU; and a busy minority among them. */
import { setTimeout as sleep } from "node:timers/promises";
import { Crowd } from "../crowd/crowd.ts";
import { Generator } from "../generator/generator.ts";
import { treePssBytes } from "../measure/memory.ts";
import { round } from "../measure/statistics.ts";
import { type LoadSample, measure, type Sampled } from "../measure/window.ts";
import type { Server } from "../servers/server.ts";
import { ratio, resultOf } from "./combine.ts";
import { chosenLoads, compare, type NamedLoad } from "./compare.ts";
import { manyInFlight, warmUpMs } from "./peers.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";
import { systemsOf } from "./systems.ts";

const secondsDefault = 10;
const keepAliveSeconds = 60;
const atOnce = 200;
/** Until a server has given back what it needed only for the handshakes. */
const settleMs = 5_000;

interface IdleLoad extends NamedLoad {
  readonly idle: number;
  readonly active: number;
}

const loads: readonly IdleLoad[] = [
  { key: "idle", title: "10,000 idle", idle: 10_000, active: 0 },
  { key: "active", title: "16,000 idle, 2,000 active", idle: 16_000, active: 2_000 },
];
const connectionsMax = 20_000;

async function idleRound(
  context: Context,
  start: (folder: string) => Promise<Server>,
  { idle, active }: IdleLoad,
  seconds: number,
): Promise<SystemResult> {
  await using folder = context.folder();
  await using server = await start(folder.path);
  await sleep(warmUpMs, undefined, { signal: context.signal });
  const before = treePssBytes(server.pid);
  const startMs = performance.now();
  await using crowd = await Crowd.start({
    port: server.mqttPort,
    connections: idle,
    atOnce,
    keepAliveSeconds,
    kind: "stay",
  });
  const connectsPerSecond = round((idle / (performance.now() - startMs)) * 1_000);
  await sleep(settleMs, undefined, { signal: context.signal });
  const more = {
    bytesPerConnection: round((treePssBytes(server.pid) - before) / idle),
    baseMegabytes: round(before / 1e6),
    connectsPerSecond,
  };
  const under = async <S extends LoadSample>(load: Sampled<S>): Promise<SystemResult> =>
    resultOf(await measure(server, load, seconds, context.signal), null, more);
  // Awaited here: what is in use must not end before.
  if (active === 0) return await under(crowd);
  const options = { ...manyInFlight, connections: active, window: 1, port: server.mqttPort };
  await using generator = await Generator.start(options);
  await generator.load({ kind: "closed" });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  return await under(generator);
}

export function idle(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  return compare(context, {
    scenario: "idle",
    seconds,
    loads: chosenLoads(loads, context),
    systems: systemsOf(context, connectionsMax),
    heading: ["", "bytes/connection", "before, MB", "cores", "messages/s", "p50 ms", "p99 ms"],
    run: (system, load) => idleRound(context, system.start, load, seconds),
    cells: (name, { bytesPerConnection, baseMegabytes, cores, rate, ackLatencyMs }) => [
      name,
      Number(bytesPerConnection).toLocaleString("en"),
      String(baseMegabytes),
      String(cores),
      rate.toLocaleString("en"),
      ackLatencyMs.p50.toFixed(2),
      ackLatencyMs.p99.toFixed(2),
    ],
    ratio: ({ active }, ours, theirs) =>
      active > 0 ? ratio(ours, theirs) : round(Number(theirs.bytesPerConnection) / Number(ours.bytesPerConnection), 2),
    notes: [
      "the ratio of idle connections compares their memory: above 1, a connection of Headrace takes less",
      `a ping every ${keepAliveSeconds} s from each idle connection`,
    ],
  });
}
