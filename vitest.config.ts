/**
 * Four kinds of tests (CONTRIBUTING.md): laws and examples beside the source, the tests of the example
 * applications, tests against real processes, and the rules of the repository.
 *
 * Packages resolve to their sources through the export condition `headrace-source`, so no test needs a build.
 * The condition is given three times on purpose: to Vite for what it transforms, to Vite for what it leaves to
 * Node, and to the forked Node itself, whose `worker_threads` inherit it.
 */
import { defineConfig } from "vitest/config";
import { plantedArgs, plantedPlugin } from "./tests/planted/index.ts";

const sourceCondition = "headrace-source";
const conditions = [sourceCondition, "node", "import", "module", "default"];

/** A run with one planted bug (tests/planted): the tests that prove its promise must fail. */
const planted = process.env.HEADRACE_PLANTED;

const shared = {
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
};

const forks = {
  pool: "forks" as const,
  setupFiles: ["./tools/fast-check-setup.ts"],
  execArgv: [`--conditions=${sourceCondition}`, "--disable-warning=ExperimentalWarning", ...plantedArgs(planted)],
};

export default defineConfig({
  ...shared,
  // Here only: the projects inherit it.
  plugins: plantedPlugin(planted),
  test: {
    reporters: ["default", "./tools/counts-reporter.ts"],
    projects: [
      {
        ...shared,
        test: {
          ...forks,
          name: "unit",
          include: ["packages/*/src/**/*.test.ts", "packages/*/test/**/*.test.ts"],
          testTimeout: 20_000,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        ...shared,
        test: {
          ...forks,
          name: "examples",
          include: ["examples/**/*.test.ts"],
          testTimeout: 10_000,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        ...shared,
        test: {
          ...forks,
          name: "tidy",
          include: ["tests/tidy/**/*.test.ts"],
          testTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        ...shared,
        test: {
          ...forks,
          name: "system",
          include: ["tests/src/**/*.test.ts"],
          // Real servers that are killed and started again; one file at a time, or they measure each other.
          testTimeout: 120_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
