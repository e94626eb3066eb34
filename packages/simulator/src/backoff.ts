/** Pauses between attempts to connect: doubling, half of each random, so that a fleet does not return all at once. Pure. */
import type { Random } from "./random.ts";

const firstMs = 100;
/** A server that was killed is back within seconds; a longer pause would only delay what devices wait to send. */
const longestMs = 5000;

/** The pause before attempt number `attempt` (from 0). */
export function backoffMs(attempt: number, random: Random): number {
  const fullMs = Math.min(longestMs, firstMs * 2 ** Math.min(attempt, 16));
  return fullMs * (0.5 + random() / 2);
}
