/**
 * Goal: P1, P2, P3, P6 and P10 hold whatever the disk, the power and the threads do; the simulation finds bugs that are planted. Method:
 * 180 seeds through the same command that people use (2,000 take five minutes and belong to the soak); planted bugs that must be found.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { repository } from "../node-process.ts";
import type { RunSummary } from "./runs.ts";
import { runSeed } from "./seed.ts";

/** A bound for machines that do much else; the runs end long before. */
const limitMs = 30 * 60_000;

const simulate = async (
  ...args: string[]
): Promise<{ code: number; summary: RunSummary | undefined; said: string }> => {
  const options = { cwd: repository, maxBuffer: 64 * 1024 * 1024 };
  const file = "tests/src/simulation/main.ts";
  const node = ["--conditions=headrace-source", "--disable-warning=ExperimentalWarning", file];
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [...node, ...args], options);
    return { code: 0, summary: args.includes("--json") ? (JSON.parse(stdout) as RunSummary) : undefined, said: stderr };
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string };
    return { code, summary: undefined, said: stderr };
  }
};

test("P1 P2 P3 P6 no seed of the first 180 breaks a promise, and a seed run twice gives the same bytes", {
  timeout: limitMs,
}, async () => {
  const { code, summary, said } = await simulate("--seeds", "180", "--json");
  expect(code, said).toBe(0);
  expect(summary?.seeds).toBe(180);
  expect(summary?.repeated).toBeGreaterThanOrEqual(3);
  expect(summary?.crashes).toBeGreaterThanOrEqual(3 * 180);
});

test("P10 same seed, same bytes; another seed, other bytes", async () => {
  const [first, again, other] = [await runSeed(7), await runSeed(7), await runSeed(8)];
  expect(again).toEqual(first);
  expect(other.digest).not.toBe(first.digest);
});

describe("planted bugs are found", () => {
  test.each(["commit-without-fence", "offset-off-by-one", "ack-before-fsync"])(
    "%s",
    { timeout: limitMs },
    async (bug) => {
      const { code, said } = await simulate("--planted", bug, "--seeds", "500");
      expect(code, said).toBe(0);
      expect(said).toMatch(/replay: npm run simulate -- --seed \d+ --planted/);
    },
  );
});
