/**
 * `npm run faults`: storage and process faults against real processes, every place of a cycle.
 *
 *   npm run faults               all of them
 *   npm run faults -- S4 P16     these
 *   npm run faults -- --planted  the planted bugs, each of which has to be found
 *   npm run faults -- --json     ends with one object: {passed, failed, seeds}
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { repository } from "../node-process.ts";
import { canMount } from "./mounts.ts";
import { finders, missed } from "./planted-runs.ts";
import { runTests } from "./runs.ts";
import { seed } from "./scope.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { planted: { type: "boolean", default: false }, json: { type: "boolean", default: false } },
});
const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};
const limitMs = 1_800_000;
const started = performance.now();
const idTest = /(?:test|describe)[^"`]*["`](?:[SP]\d+(?:, )?)+: /;

async function plantedBugs(): Promise<{ passed: number; failed: number; failures: string[] }> {
  const failures: string[] = [];
  const names = Object.keys(finders);
  for (const [at, bug] of names.entries()) {
    const problem = await missed(bug);
    say(`${at + 1}/${names.length} ${bug}: ${problem ?? "found"}`);
    if (problem !== undefined) failures.push(problem);
  }
  return { passed: names.length - failures.length, failed: failures.length, failures };
}

async function faults(
  ids: readonly string[],
): Promise<{ passed: number; failed: number; failures: readonly string[] }> {
  for (const id of ids) if (!/^[SP]\d+$/.test(id)) throw new Error(`${id}: an id is S1 to S22 or P1 to P16`);
  // Of the ids of faults; P3 to P13 belong to parts that are not built, and P9, say, is a promise as well.
  const wanted = ids.length > 0 ? ids.join("|") : "S\\d+|P1|P2|P14|P15|P16";
  const files = globSync(["packages/*/src/**/*.test.ts", "tests/src/**/*.test.ts"], { cwd: repository }).filter(
    (file) => idTest.test(readFileSync(join(repository, file), "utf8")),
  );
  if (!canMount)
    say("This process may not mount: power cuts of a real file system (S2, S3) and full disks (S5) are not tried.");
  const variables = { HEADRACE_FAULTS: process.env.HEADRACE_FAULTS ?? "full", HEADRACE_FAULTS_SEED: `${seed}` };
  const result = await runTests(files, new RegExp(`\\b(${wanted})\\b[^:]*: `), variables, "all", limitMs);
  const failures = [...result.failures, ...result.broken];
  return { passed: result.passed, failed: result.failed + result.broken.length, failures };
}

const { passed, failed, failures } = values.planted ? await plantedBugs() : await faults(positionals);
for (const failure of failures) say(`failed: ${failure}`);
say(`${passed} passed, ${failed} failed, seed ${seed}, ${Math.round((performance.now() - started) / 1000)} s`);
if (values.json) process.stdout.write(`${JSON.stringify({ passed, failed, seeds: [seed] })}\n`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
