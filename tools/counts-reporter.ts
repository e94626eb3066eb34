/**
 * A vitest reporter that ends the output with the plain line `N passed, N failed`.
 *
 * The line is written when the process exits, because the other reporters write their summaries at the same
 * time as this one would. A file that cannot be loaded and an error outside of any test count as one failure
 * each: a run that lost tests must not look clean.
 */
import { writeSync } from "node:fs";
import type { Reporter, TestCase, TestModule } from "vitest/node";

export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandledErrors: ReadonlyArray<unknown>): void {
    const { passed, failed } = countTests(modules);
    const line = `${passed} passed, ${failed + unhandledErrors.length} failed\n`;
    process.once("exit", () => writeSync(1, line));
  }
}

function countTests(modules: ReadonlyArray<TestModule>): { passed: number; failed: number } {
  let passed = 0;
  let failed = 0;
  for (const module of modules) {
    let failedHere = 0;
    for (const test of module.children.allTests()) {
      const { state } = (test satisfies TestCase).result();
      if (state === "passed") passed += 1;
      if (state === "failed") failedHere += 1;
    }
    const brokenOutsideTests = failedHere === 0 && module.state() === "failed";
    failed += brokenOutsideTests ? 1 : failedHere;
  }
  return { passed, failed };
}
