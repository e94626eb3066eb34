/**
 * `npm run soak`: long jobs that look for what grows. Not part of CI.
 *
 *   npm run soak                    every job, ten minutes each
 *   npm run soak -- retained-log    this one
 *   npm run soak -- --minutes 60    longer
 */
import { parseArgs } from "node:util";
import { temporaryFolder } from "../node-process.ts";
import { type RunSummary, runSeeds } from "../simulation/runs.ts";
import { diskBytesMax, loadRetained, type RetainedLoad, type Sample } from "./retained-log.ts";

/** Says what is wrong; nothing when all is well. */
type Job = (seconds: number, say: (text: string) => void) => Promise<string[]>;

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
/** Memory may differ by this much between the middle and the end of a job. */
const memoryGrowthMax = 1.2;

const retainedLog: Job = async (seconds, say) => {
  using folder = temporaryFolder();
  const endMs = performance.now() + seconds * 1000;
  const load: RetainedLoad = {
    folder: folder.path,
    segmentBytes: 8 << 20,
    retainBytes: 256 << 20,
    isEnough: () => performance.now() > endMs,
    onSample: ({ writtenBytes, diskBytes, memoryBytes }) =>
      say(`written ${mib(writtenBytes)}, on disk ${mib(diskBytes)}, memory ${mib(memoryBytes)}`),
  };
  const { samples, startSequence, endSequence, readRecords } = await loadRetained(load);
  const highest = (from: number, to: number, of: (sample: Sample) => number): number =>
    Math.max(...samples.slice(Math.floor(samples.length * from), Math.ceil(samples.length * to)).map(of));
  const disk = highest(0, 1, ({ diskBytes }) => diskBytes);
  const middle = highest(0.4, 0.6, ({ memoryBytes }) => memoryBytes);
  const end = highest(0.8, 1, ({ memoryBytes }) => memoryBytes);
  const wrong: string[] = [];
  if (disk > diskBytesMax(load)) wrong.push(`${mib(disk)} on disk, ${mib(diskBytesMax(load))} are the bound`);
  if (end > middle * memoryGrowthMax) wrong.push(`memory grew from ${mib(middle)} to ${mib(end)}`);
  if (readRecords !== endSequence - startSequence)
    wrong.push(`${readRecords} records read of ${startSequence} to ${endSequence}`);
  return wrong;
};

/** New seeds of the simulation (docs/concepts/simulation.md) until the time is over. */
const simulation: Job = async (seconds, say) => {
  const endMs = performance.now() + seconds * 1000;
  const wrong: string[] = [];
  let done = 0;
  const seedsAtOnce = 200;
  for (let from = Date.now() % 1_000_000_000; performance.now() < endMs; from += seedsAtOnce) {
    const onProgress = ({ seeds }: RunSummary): void => say(`${done + seeds} seeds, ${wrong.length} failed`);
    const { seeds, failures } = await runSeeds({ from, seeds: seedsAtOnce, onProgress });
    done += seeds;
    for (const { seed, violations } of failures)
      wrong.push(`${violations[0]}; replay: npm run simulate -- --seed ${seed}`);
  }
  return wrong;
};

const jobs: Readonly<Record<string, Job>> = { "retained-log": retainedLog, simulation };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string", default: "10" } },
});
const seconds = Number(values.minutes) * 60;
if (!(seconds > 0)) throw new Error(`--minutes ${values.minutes}: a number above 0`);
const names = positionals.length > 0 ? positionals : Object.keys(jobs);
let failed = 0;
for (const name of names) {
  const job = jobs[name];
  if (!job) throw new Error(`${name}: the jobs are ${Object.keys(jobs).join(", ")}`);
  let saidMs = Number.NEGATIVE_INFINITY;
  const wrong = await job(seconds, (text) => {
    if (performance.now() - saidMs < 10_000) return;
    saidMs = performance.now();
    process.stdout.write(`${name}: ${text}\n`);
  });
  for (const one of wrong) process.stdout.write(`${name}: WRONG: ${one}\n`);
  if (wrong.length === 0) process.stdout.write(`${name}: nothing grew\n`);
  failed += wrong.length;
}
process.exitCode = failed > 0 ? 1 : 0;
