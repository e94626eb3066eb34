/** mosquitto under the generator, and the load that `ingest` and `end-to-end` share. */
import { setTimeout as sleep } from "node:timers/promises";
import { Generator } from "../generator/generator.ts";
import type { GeneratorOptions } from "../generator/messages.ts";
import { measure } from "../measure/window.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { resultOf } from "./combine.ts";
import type { Context, SystemResult } from "./scenario.ts";

/** The load of `ingest` and `end-to-end`. */
export const manyInFlight: Omit<GeneratorOptions, "port"> = {
  connections: 100,
  qos: 1,
  window: 50,
  payloadBytes: 120,
  commands: false,
  answer: false,
  askEvery: 0,
};
/** Until code is compiled and buffers have grown. */
export const warmUpMs = 2_000;

/** One round of mosquitto in a closed loop. It keeps nothing of these messages, so nothing can be read back. */
export async function mosquittoRound(context: Context, persistent: boolean, seconds: number): Promise<SystemResult> {
  await using folder = context.folder();
  await using server = await startMosquitto(folder.path, persistent);
  await using generator = await Generator.start({ ...manyInFlight, port: server.mqttPort });
  await generator.load({ kind: "closed" });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  return resultOf(await measure(server, generator, seconds, context.signal), null);
}
