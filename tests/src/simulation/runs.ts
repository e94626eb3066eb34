/** Many seeds on all cores: each thread takes the next one when it has ended its last. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { plantedArgs } from "../../planted/index.ts";
import { Marks } from "./rare-paths.ts";
import type { SeedResult } from "./seed.ts";

export interface RunOptions {
  readonly from: number;
  readonly seeds: number;
  /** Threads; default: one a core. */
  readonly workers?: number | undefined;
  /** A planted bug (tests/planted). */
  readonly planted?: string | undefined;
  /** Ends with the first seed that fails. */
  readonly untilFailure?: boolean;
  readonly onProgress?: (summary: RunSummary) => void;
}

export interface RunSummary {
  /** Seeds that have been run. */
  readonly seeds: number;
  readonly failures: readonly { readonly seed: number; readonly violations: readonly string[] }[];
  readonly messages: number;
  readonly crashes: number;
  /** How often each path was hit, over all seeds. */
  readonly paths: Readonly<Record<string, number>>;
  /** Rare paths that no seed has hit. */
  readonly missing: readonly string[];
  /** Seeds that were run twice, and gave the same bytes. */
  readonly repeated: number;
  readonly seconds: number;
}

/** Every so many seeds one is run twice. */
const repeatEvery = 50;

export const runSeeds = async (options: RunOptions): Promise<RunSummary> => {
  const { from, seeds, planted, workers: asked, untilFailure = false, onProgress } = options;
  const startedMs = performance.now();
  const marks = new Marks();
  const failures: { seed: number; violations: readonly string[] }[] = [];
  const digests = new Map<number, string>();
  let [done, messages, crashes, repeated] = [0, 0, 0, 0];
  const queue: number[] = [];
  let next = from;
  const take = (): number | undefined => {
    if (untilFailure && failures.length > 0) return undefined;
    const again = queue.shift();
    if (again !== undefined) return again;
    return next < from + seeds ? next++ : undefined;
  };
  const summary = (): RunSummary => ({
    seeds: done,
    failures,
    messages,
    crashes,
    paths: Object.fromEntries([...marks.counts].sort(([a], [b]) => a.localeCompare(b))),
    missing: marks.missing,
    repeated,
    seconds: Math.round(performance.now() - startedMs) / 1000,
  });
  const onResult = (result: SeedResult): void => {
    const { seed, violations, digest } = result;
    const before = digests.get(seed);
    if (before !== undefined) {
      repeated += 1;
      digests.delete(seed);
      if (before !== digest)
        failures.push({ seed, violations: [`not the same bytes twice: digest ${before}, then ${digest}`] });
      return;
    }
    done += 1;
    messages += result.messages;
    crashes += result.crashes;
    marks.add(result.marks);
    if (violations.length > 0) failures.push({ seed, violations });
    if (seed % repeatEvery === 0) {
      digests.set(seed, digest);
      queue.push(seed);
    }
    onProgress?.(summary());
  };
  const runWorker = async (): Promise<void> => {
    const worker = new Worker(new URL("./seed-worker.ts", import.meta.url), {
      execArgv: [...process.execArgv, ...plantedArgs(planted)],
    });
    try {
      await new Promise<void>((resolve, reject) => {
        const give = (): void => {
          const seed = take();
          if (seed === undefined) resolve();
          else worker.postMessage(seed);
        };
        worker.on("message", (result: SeedResult) => {
          onResult(result);
          give();
        });
        worker.on("error", reject);
        worker.on("exit", (code) => reject(new Error(`a worker ended with ${code}`)));
        give();
      });
    } finally {
      worker.removeAllListeners("exit");
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(seeds, asked ?? availableParallelism()) }, runWorker));
  return summary();
};
