/** Finds the rate that a node holds with its functions keeping up, and holds it. */
import { setTimeout as sleep } from "node:timers/promises";
import { BenchError } from "../errors.ts";
import type { Generator } from "../generator/generator.ts";
import { round } from "../measure/statistics.ts";
import { type Measured, measure } from "../measure/window.ts";
import type { Headrace, Status } from "../servers/headrace.ts";
import { warmUpMs } from "./peers.ts";
import type { Context } from "./scenario.ts";

export interface Held {
  readonly measured: Measured;
  /** The largest lag seen, in seconds of input at the held rate. */
  readonly lagSecondsMax: number;
}

const probeSeconds = 5;
const drainMs = 60_000;
const settleMs = 100;
/** Devices send what they gathered: every connection half a window at a time. */
const burst = 25;
const triesMax = 6;
const ratePerSecondMin = 1_000;

/** Events that the slowest function has not committed. */
const lagEventsOf = ({ tasks }: Status): number => {
  const perFunction = new Map<string, number>();
  for (const { name, lagEvents } of tasks) {
    const fn = name.slice(0, Math.max(name.lastIndexOf("/"), 0)) || name;
    perFunction.set(fn, (perFunction.get(fn) ?? 0) + lagEvents);
  }
  return Math.max(0, ...perFunction.values());
};

/** Sends nothing until everything is acknowledged and processed. False when that takes too long. */
export async function drained(server: Headrace, generator: Generator, signal: AbortSignal): Promise<boolean> {
  await generator.load({ kind: "idle" });
  const deadlineMs = performance.now() + drainMs;
  while (performance.now() < deadlineMs) {
    const { inFlight, acknowledged } = await generator.sample();
    const status = await server.status();
    if (inFlight === 0 && lagEventsOf(status) === 0 && status.processed >= acknowledged) return true;
    await sleep(settleMs, undefined, { signal });
  }
  return false;
}

async function hold(
  context: Context,
  server: Headrace,
  generator: Generator,
  rate: number,
  seconds: number,
): Promise<Held> {
  await generator.load({ kind: "paced", rate, burst });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  let lagEventsMax = 0;
  let askedMs = 0;
  const measured = await measure(server, generator, seconds, context.signal, async () => {
    if (performance.now() - askedMs < 450) return;
    askedMs = performance.now();
    lagEventsMax = Math.max(lagEventsMax, lagEventsOf(await server.status()));
  });
  return { measured, lagSecondsMax: lagEventsMax / rate };
}

/** 2 % are the difference between a clock that ticks and one that flows. */
const holds = ({ measured, lagSecondsMax }: Held, rate: number): boolean =>
  lagSecondsMax < 1 && measured.rate >= rate * 0.98;

const say = (context: Context, what: string, rate: number, held: Held): void =>
  context.say(
    `  ${what} ${round(rate)}/s: ${round(held.measured.rate)}/s acknowledged, lag up to ${round(held.lagSecondsMax, 2)} s, server ${round(held.measured.cores, 2)} cores${holds(held, rate) ? "" : " - not held"}`,
  );

/**
 * Closed loop for a few seconds: what functions commit while input comes as fast as it is taken. A node whose functions
 * commit little under such load is given half of what they commit once the load is gone.
 */
async function estimate(context: Context, server: Headrace, generator: Generator): Promise<number> {
  await generator.load({ kind: "closed" });
  await sleep(warmUpMs, undefined, { signal: context.signal });
  const before = await server.status();
  const startMs = performance.now();
  await sleep(probeSeconds * 1000, undefined, { signal: context.signal });
  const after = await server.status();
  const underLoad = (after.processed - before.processed) / ((performance.now() - startMs) / 1000);
  const backlog = lagEventsOf(after);
  const drainStartMs = performance.now();
  if (!(await drained(server, generator, context.signal))) throw new BenchError("the backlog of the closed loop stays");
  const alone = backlog / ((performance.now() - drainStartMs) / 1000);
  context.say(`  closed loop: ${round(underLoad)}/s processed; ${backlog} left, then ${round(alone)}/s processed`);
  return Math.max(underLoad, alone / 2, ratePerSecondMin);
}

/** The highest rate that held for `seconds`, found by probing up and stepping down. */
export async function sustained(
  context: Context,
  server: Headrace,
  generator: Generator,
  seconds: number,
): Promise<Held & { readonly rate: number }> {
  const drain = async (): Promise<void> => {
    if (!(await drained(server, generator, context.signal))) throw new BenchError("the backlog of a probe stays");
  };
  let best = (await estimate(context, server, generator)) * 0.9;
  for (let tries = 0, next = best; tries < triesMax; tries += 1, next = best * 1.15) {
    const held = await hold(context, server, generator, next, probeSeconds);
    say(context, "probe", next, held);
    await drain();
    if (holds(held, next)) best = next;
    else if (next > best) break;
    else best *= 0.8;
  }
  for (let tries = 0, rate = best * 0.95; tries < triesMax; tries += 1, rate *= 0.92) {
    const held = await hold(context, server, generator, rate, seconds);
    say(context, "hold", rate, held);
    if (holds(held, rate)) return { ...held, rate };
    await drain();
  }
  throw new BenchError("no rate was held with a lag under one second");
}
