/** The end of a Headrace round: kill -9 under load, restart, read the ids back. Or, for a profile, a clean stop. */

import { setTimeout as sleep } from "node:timers/promises";
import { BenchError } from "../errors.ts";
import type { Generator } from "../generator/generator.ts";
import { type Survival, survival } from "../measure/lost.ts";
import { type Headrace, type HeadraceOptions, startHeadrace } from "../servers/headrace.ts";
import type { Context } from "./scenario.ts";

const silentSecondsMax = 10;

/** Undefined when the node was stopped cleanly for its profile. */
export async function killAndReadBack(
  context: Context,
  server: Headrace,
  generator: Generator,
  options: HeadraceOptions,
): Promise<Survival | undefined> {
  if (context.profileFolder !== undefined) {
    await generator.load({ kind: "idle" });
    await server.stop();
    return undefined;
  }
  await server.kill();
  // What was acknowledged before the kill may still be on its way to the generator.
  for (let tries = 0; (await generator.sample()).openConnections > 0; tries += 1) {
    if (tries > silentSecondsMax * 10) throw new BenchError("connections of a dead server stay open");
    await sleep(100);
  }
  const acknowledged = await generator.acknowledged();
  await generator[Symbol.asyncDispose]();
  await using again = await startHeadrace({ ...options });
  const survived = await survival(again, "readings", acknowledged);
  context.say(
    `  kill -9: ${survived.acknowledged} acknowledged, ${survived.found} read back, ${survived.lost} lost, ${survived.doubled} doubled`,
  );
  return survived;
}
