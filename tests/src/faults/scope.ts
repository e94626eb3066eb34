/**
 * How much of the faults a run tries: `ci` a seeded sample within three minutes, `full` (`npm run faults`) every place of a cycle, `soak` what takes
 * longer. One seed chooses every sample; a failure names it.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";

type Scope = "ci" | "full" | "soak";

export const scope: Scope = ((): Scope => {
  const asked = process.env.HEADRACE_FAULTS ?? "ci";
  if (asked === "ci" || asked === "full" || asked === "soak") return asked;
  throw new Error(`HEADRACE_FAULTS=${asked}: it is ci, full or soak`);
})();

/** Of this run: HEADRACE_FAULTS_SEED, or a new one. */
export const seed: number = Number(process.env.HEADRACE_FAULTS_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** What to type to see a failure again. */
export const replay = (id: string): string => `replay: HEADRACE_FAULTS_SEED=${seed} npm run faults -- ${id}`;

/** Numbers from 0 (inclusive) to 1 that depend on the seed and a name only. */
export function randomOf(name: string): () => number {
  let count = 0;
  return () => createHash("sha256").update(`${seed}/${name}/${count++}`).digest().readUInt32LE(0) / 2 ** 32;
}

/** `count` of the values in their order, or all of them; by scope. */
export function sampleOf<Value>(name: string, values: readonly Value[], counts: Record<Scope, number>): Value[] {
  const random = randomOf(name);
  const left = values.map((value, at) => ({ value, at, by: random() })).sort((a, b) => a.by - b.by);
  return left
    .slice(0, counts[scope])
    .sort((a, b) => a.at - b.at)
    .map(({ value }) => value);
}

/** Whether a command of this machine is there and does what it is asked. */
export function can(file: string, ...args: string[]): boolean {
  try {
    execFileSync(file, args, { stdio: "ignore", timeout: 20_000 });
    return true;
  } catch {
    return false;
  }
}
