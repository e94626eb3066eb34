/** From publishers to subscribers: one takes all, all take one, or each takes one. */
import { setTimeout as sleep } from "node:timers/promises";
import { measure } from "../measure/window.ts";
import type { Shape, TrafficOptions } from "../traffic/messages.ts";
import { Traffic } from "../traffic/traffic.ts";
import { resultOf } from "./combine.ts";
import { chosenLoads, compare, type NamedLoad } from "./compare.ts";
import { warmUpMs } from "./peers.ts";
import type { Context, Report, SystemResult } from "./scenario.ts";
import { type System, systemsOf } from "./systems.ts";

const secondsDefault = 10;
const payloadBytes = 120;
/** The longest wait for what is on its way when the load ends. */
const lateMs = 10_000;

type Ends = Omit<TrafficOptions, "port" | "qos">;

export const shapes: Record<Shape, Ends> = {
  "fan-in": { shape: "fan-in", publishers: 100, subscribers: 1, window: 50, payloadBytes },
  "fan-out": { shape: "fan-out", publishers: 1, subscribers: 500, window: 20, payloadBytes },
  pairs: { shape: "pairs", publishers: 500, subscribers: 500, window: 10, payloadBytes },
};

interface FanLoad extends NamedLoad {
  readonly qos: 0 | 1;
}

const loads: readonly FanLoad[] = ([0, 1] as const).map((qos) => ({ key: `qos${qos}`, title: `QoS ${qos}`, qos }));

/** What has not come within a while after the load ended is lost: subscribers read the numbers of all messages. */
export async function trafficRound(
  context: Context,
  system: Pick<System, "start">,
  options: Omit<TrafficOptions, "port">,
  seconds: number,
): Promise<SystemResult> {
  await using folder = context.folder();
  await using server = await system.start(folder.path);
  await using traffic = await Traffic.start({ ...options, port: server.mqttPort });
  await traffic.load(true);
  await sleep(warmUpMs, undefined, { signal: context.signal });
  const measured = await measure(server, traffic, seconds, context.signal);
  await traffic.load(false);
  const endMs = performance.now() + lateMs;
  let last = await traffic.sample();
  while (last.missing > 0 && performance.now() < endMs) {
    await sleep(100, undefined, { signal: context.signal });
    last = await traffic.sample();
  }
  if (context.profileFolder !== undefined) await server.stop?.();
  return resultOf(measured, last.missing, { doubled: last.repeated });
}

const fan =
  (shape: Shape) =>
  (context: Context): Promise<Report> => {
    const seconds = context.seconds ?? secondsDefault;
    const { publishers, subscribers, window } = shapes[shape];
    return compare(context, {
      scenario: shape,
      seconds,
      loads: chosenLoads(loads, context),
      systems: systemsOf(context),
      heading: ["", "arrivals/s", "CPU s/million", "p50 ms", "p99 ms", "lost"],
      run: (system, { qos }) => trafficRound(context, system, { ...shapes[shape], qos }, seconds),
      mayLose: ({ qos }) => qos === 0,
      notes: [`${publishers} publishers with ${window} messages on their way each, ${subscribers} subscribers`],
    });
  };

export const fanIn = fan("fan-in");
export const fanOut = fan("fan-out");
export const pairs = fan("pairs");
