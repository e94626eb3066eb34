/**
 * Goal (P1, P6): whatever the process and the disk do to the write-ahead log and its history, what was acknowledged is there afterwards.
 * Method: a process that only appends is killed by strace at the Nth call of each kind, for every N of a cycle with several segment rolls and
 * rewritings; its calls are given errors, short results and delays; its trace is judged for what a power cut would have taken.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../node-process.ts";
import { LogHistory, type LogRun, powerCutViolations } from "./log-runs.ts";
import { can, replay, sampleOf, scope } from "./scope.ts";

const bug = process.env.HEADRACE_PLANTED;
/** Rolls five times, and rewrites what it rolls. */
const cycle = { groups: 24, segmentBytes: 6144 } as const;
const longer = { timeout: scope === "ci" ? 180_000 : 900_000 };

const dataIn = (folder: { path: string }, name = "data"): string => {
  const data = join(folder.path, name);
  mkdirSync(data);
  return data;
};
const wrong = (found: readonly string[], id: string, place: string): string[] =>
  found.map((one) => `${id} ${place}: ${one} (${replay(id)})`);

/** How often the cycle calls what, on its busiest thread: strace counts per thread. */
let calls: Map<string, number>;
let clean: LogRun;
let cleanViolations: string[];

beforeAll(async () => {
  if (!can("strace", "-V")) throw new Error("these tests need strace, the Debian package of that name");
  using folder = temporaryFolder();
  const data = dataIn(folder);
  ({ run: clean } = await new LogHistory(data).next(cycle, { trace: true, bug }));
  cleanViolations = powerCutViolations(clean, data);
  const byThread = new Map<string, number>();
  calls = new Map();
  for (const { step, name, pid } of clean.steps) {
    if (step !== "begin") continue;
    const count = (byThread.get(`${name}/${pid}`) ?? 0) + 1;
    byThread.set(`${name}/${pid}`, count);
    calls.set(name, Math.max(calls.get(name) ?? 0, count));
  }
});

test("S3: the cycle rolls, rewrites and deletes segments, and a power cut at any call takes nothing acknowledged", () => {
  expect(clean.code, clean.stderr).toBe(0);
  expect(clean.acked).toHaveLength(cycle.groups);
  const deleted = clean.steps.filter(
    ({ step, name, paths: [path = ""] }) => step === "end" && name === "unlink" && /\/\d+\.wal$/.test(path),
  );
  expect(deleted.length).toBeGreaterThanOrEqual(2);
  expect(calls.get("fdatasync")).toBeGreaterThanOrEqual(cycle.groups);
  expect(cleanViolations).toEqual([]);
});

describe("S1: kill -9 at the Nth call, for every N of a cycle", () => {
  const counts = {
    fdatasync: 8,
    fsync: 5,
    pwrite64: 3,
    pwritev: 3,
    rename: 3,
    link: 3,
    unlink: 3,
    mkdir: 1,
    ftruncate: 1,
  };
  test.each(Object.entries(counts))("S1: at %s", longer, async (call, inCi) => {
    const all = Array.from({ length: calls.get(call) ?? 0 }, (_, at) => at + 1);
    const places = sampleOf(`S1/${call}`, all, { ci: inCi, full: 40, soak: 1000 });
    using folder = temporaryFolder();
    // All on one folder: each start has to recover what the crash before left, and to go on from there.
    const history = new LogHistory(dataIn(folder));
    const found: string[] = [];
    let killed = 0;
    for (const when of places) {
      const { run, violations } = await history.next(cycle, { inject: `${call}:signal=SIGKILL:when=${when}`, bug });
      found.push(...wrong(violations, "S1", `${call} ${when}`));
      if (run.recovered === undefined && run.signal !== "SIGKILL")
        found.push(...wrong([run.fatal ?? run.stderr], "S1", `${call} ${when}: it does not start`));
      if (run.signal === "SIGKILL") killed += 1;
    }
    const { run, violations } = await history.next({ segmentBytes: cycle.segmentBytes }, { bug });
    found.push(...wrong(violations, "S1", `after ${call}`), ...(run.fatal ? [run.fatal] : []));
    expect(found).toEqual([]);
    if (places.length > 0) expect(killed).toBeGreaterThan(0);
  });
});
