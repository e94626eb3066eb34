/** Devices that get commands back, at a rate that is given: the common part of `low-rate` and `round-trip`. */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "../generator/generator.ts";
import type { Percentiles } from "../generator/messages.ts";
import { round } from "../measure/statistics.ts";
import { measure } from "../measure/window.ts";
import { startHeadrace } from "../servers/headrace.ts";
import { killAndReadBack } from "./aftermath.ts";
import { resultOf } from "./combine.ts";
import { warmUpMs } from "./peers.ts";
import type { Context, SystemResult } from "./scenario.ts";

export interface EchoOptions {
  readonly rate: number;
  readonly window: number;
  readonly askEvery: number;
  readonly seconds: number;
  readonly lingerMs?: number;
}

const connections = 100;
const lateCommandsMs = 2_000;

export type EchoResult = SystemResult & { readonly roundTripMs: Percentiles };

export async function echoRound(context: Context, options: EchoOptions): Promise<EchoResult> {
  const { rate, window, askEvery, seconds, lingerMs } = options;
  await using folder = context.folder();
  const node = { application: "echo" as const, dataFolder: folder.path, ...(lingerMs !== undefined && { lingerMs }) };
  const { profileFolder } = context;
  await using server = await startHeadrace({ ...node, ...(profileFolder !== undefined && { profileFolder }) });
  const load = {
    connections,
    qos: 1 as const,
    window,
    payloadBytes: 120,
    commands: true,
    answer: context.answer,
    askEvery,
  };
  await using generator = await Generator.start({ ...load, port: server.mqttPort });
  await generator.load({ kind: "paced", rate, burst: 1 });
  await sleep(warmUpMs * 2, undefined, { signal: context.signal });
  const measured = await measure(server, generator, seconds, context.signal);
  const { p50, p99 } = measured.end.roundTripMs;
  // Commands on their way when nothing is sent any more.
  await generator.load({ kind: "idle" });
  await sleep(lateCommandsMs, undefined, { signal: context.signal });
  const { asked, commands, repeatedCommands } = await generator.sample();
  await generator.load({ kind: "paced", rate, burst: 1 });
  await sleep(500, undefined, { signal: context.signal });
  const survived = await killAndReadBack(context, server, generator, node);
  return {
    ...resultOf(measured, survived?.lost ?? null, {
      doubled: survived?.doubled ?? 0,
      missing: asked - commands,
      repeatedCommands,
    }),
    roundTripMs: { p50: round(p50, 2), p99: round(p99, 2) },
  };
}
