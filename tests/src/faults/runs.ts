/** Runs of vitest on the tests of faults: by id, or with a planted bug in the sources. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { environment, repository } from "../node-process.ts";

export interface RunResult {
  readonly passed: number;
  readonly failed: number;
  /** Names of the tests that failed. */
  readonly failures: readonly string[];
  /** Files that could not be loaded: no test of theirs has said anything. */
  readonly broken: readonly string[];
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

/** Runs tests whose full name matches, in a process of its own; a run that does not end within `limitMs` has failed. */
export async function runTests(
  files: readonly string[],
  name: RegExp,
  variables: Readonly<Record<string, string>>,
  show: "all" | "nothing",
  limitMs: number,
): Promise<RunResult> {
  const folder = mkdtempSync(join(tmpdir(), "headrace-faults-"));
  const report = join(folder, "report.json");
  const vitest = join(repository, "node_modules/vitest/vitest.mjs");
  const args = ["run", ...files, "-t", name.source, "--reporter=json", `--outputFile.json=${report}`];
  if (show === "all") args.push("--reporter=verbose");
  try {
    const child = spawn(process.execPath, [vitest, ...args], {
      cwd: repository,
      env: { ...environment, ...variables },
      stdio: ["ignore", show === "all" ? 2 : "ignore", show === "all" ? 2 : "ignore"],
      // A group of its own: vitest's forks end with it.
      detached: true,
    });
    let isLate = false;
    const limit = setTimeout(() => {
      isLate = true;
      process.kill(-child.pid!, "SIGKILL");
    }, limitMs);
    await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    clearTimeout(limit);
    if (isLate) return { passed: 0, failed: 1, failures: [`no end within ${limitMs / 1000} s`], broken: [] };
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8")) as Report;
    const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
    return {
      passed: numPassedTests,
      failed: numFailedTests,
      failures: tests.filter(({ status }) => status === "failed").map(({ fullName }) => fullName),
      broken: testResults
        .filter(
          ({ status, assertionResults }) =>
            status === "failed" && assertionResults.every((one) => one.status !== "failed"),
        )
        .map(({ name, message = "" }) => `${name}: ${message}`),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
