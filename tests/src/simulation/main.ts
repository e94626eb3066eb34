/**
 * `npm run simulate`: runs seeds of the simulation, or replays one with a trace.
 *
 * Exit status: 0 when every seed kept every promise (and, with 2,000 seeds or more, every rare path was hit), 1 when one did not, 2 when a rare path was
 * never hit. With --planted: 0 when the bug was found, 1 when it was not.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { plantedArgs, plantedBugs } from "../../planted/index.ts";
import { runSeeds } from "./runs.ts";
import { runSeed } from "./seed.ts";

const usage = `npm run simulate -- [--seeds 2000] [--from 1] [--workers 2] [--json] [--planted NAME] | --seed N [--planted NAME]`;
/** From this many seeds on every rare path has to have been hit. */
const seedsForAllPaths = 2000;
const progressMs = 2000;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    workers: { type: "string" },
    planted: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const numberOf = (name: string, text: string): number => {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`--${name} ${text} is not a number\n${usage}`);
  return number;
};
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const replay = (seed: number): string =>
  `replay: npm run simulate -- --seed ${seed}${values.planted === undefined ? "" : ` --planted ${values.planted}`}`;

const replayOne = async (seed: number): Promise<number> => {
  const result = await runSeed(seed, (line) => process.stdout.write(`${line}\n`));
  for (const violation of result.violations) process.stdout.write(`VIOLATION ${violation}\n`);
  process.stdout.write(
    `seed ${seed}: ${result.messages} messages, ${result.crashes} crashes, digest ${result.digest}, ${result.violations.length} violations\n`,
  );
  return result.violations.length > 0 ? 1 : 0;
};

const runMany = async (): Promise<number> => {
  const { planted } = values;
  const seeds = numberOf("seeds", values.seeds);
  let saidMs = performance.now();
  const summary = await runSeeds({
    from: numberOf("from", values.from),
    seeds,
    workers: values.workers === undefined ? undefined : numberOf("workers", values.workers),
    planted,
    untilFailure: planted !== undefined,
    onProgress: (so) => {
      const nowMs = performance.now();
      if (nowMs - saidMs < progressMs) return;
      saidMs = nowMs;
      const each = ((so.seconds * 1000) / so.seeds).toFixed(0);
      say(`${so.seeds} of ${seeds} seeds, ${so.failures.length} failed, ${each} ms a seed`);
    },
  });
  if (values.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  const { failures, missing } = summary;
  for (const { seed, violations } of failures.slice(0, 10)) {
    say(`seed ${seed}:`);
    for (const violation of violations.slice(0, 5)) say(`  ${violation}`);
    say(`  ${replay(seed)}`);
  }
  say(
    `${summary.seeds} seeds, ${summary.messages} messages, ${summary.crashes} crashes, ${failures.length} failed, ${summary.repeated} run twice, ${summary.seconds.toFixed(1)} s`,
  );
  if (planted !== undefined) {
    say(failures.length > 0 ? `${planted} is found after ${summary.seeds} seeds` : `${planted} is not found`);
    return failures.length > 0 ? 0 : 1;
  }
  if (!values.json)
    for (const [path, times] of Object.entries(summary.paths)) say(`${String(times).padStart(9)} ${path}`);
  if (failures.length > 0) return 1;
  if (seeds < seedsForAllPaths || missing.length === 0) return 0;
  for (const path of missing) say(`never: ${path}`);
  return 2;
};

const main = async (): Promise<number> => {
  if (values.help) {
    say(`${usage}\nplanted bugs: ${plantedBugs.map(({ name }) => name).join(", ")}`);
    return 0;
  }
  if (values.seed === undefined) return runMany();
  const seed = numberOf("seed", values.seed);
  if (values.planted === undefined) return replayOne(seed);
  // A bug is planted while modules are loaded: in a process of its own.
  const args = [...process.execArgv, ...plantedArgs(values.planted), import.meta.filename, "--seed", `${seed}`];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
};

process.exitCode = await main();
