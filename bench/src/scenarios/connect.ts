/** How many connections a second come to be and go: TCP, CONNECT, CONNACK, DISCONNECT, closed. */
import { setTimeout as sleep } from "node:timers/promises";
import { Crowd } from "../crowd/crowd.ts";
import { measure } from "../measure/window.ts";
import { resultOf } from "./combine.ts";
import { chosenLoads, compare } from "./compare.ts";
import { warmUpMs } from "./peers.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";
import { type System, systemsOf } from "./systems.ts";

const secondsDefault = 10;
const atOnce = 100;

export async function connectRound(
  context: Context,
  system: Pick<System, "start">,
  seconds: number,
): Promise<SystemResult> {
  await using folder = context.folder();
  await using server = await system.start(folder.path);
  await using crowd = await Crowd.start({
    port: server.mqttPort,
    connections: 0,
    atOnce,
    keepAliveSeconds: 0,
    kind: "churn",
  });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  const result = resultOf(await measure(server, crowd, seconds, context.signal), null);
  if (context.profileFolder !== undefined) await server.stop?.();
  return result;
}

export function connect(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  return compare(context, {
    scenario: "connect",
    seconds,
    loads: chosenLoads([{ key: "churn", title: `${atOnce} at once` }], context),
    systems: systemsOf(context),
    heading: ["", "connects/s", "CPU s/million", "p50 ms", "p99 ms", "lost"],
    run: (system) => connectRound(context, system, seconds),
  });
}
