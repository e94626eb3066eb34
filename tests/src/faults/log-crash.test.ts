/**
 * Goal (P1, P6): whatever the process and the disk do to the write-ahead log and its history, what was acknowledged is there afterwards.
 * Method: a process that only appends is killed by strace at the Nth call of each kind, for every N of a cycle with several segment rolls and
 * rewritings; its calls are given errors, short results and delays; its trace is judged for what a power cut would have taken.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../node-process.ts";
import type { LogLoad } from "./log-process.ts";
import { LogHistory, type LogRun, powerCutViolations, runLog } from "./log-runs.ts";
import { canMount, ImageDisk, smallDisk } from "./mounts.ts";
import { can, randomOf, replay, sampleOf, scope } from "./scope.ts";

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
    fdatasync: 6,
    fsync: 4,
    pwrite64: 2,
    pwritev: 2,
    rename: 2,
    link: 2,
    unlink: 2,
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

describe("S4: a failed sync", () => {
  test(
    "S4: fdatasync fails once: nothing of that group or later is acknowledged, the process ends, nothing is synced again",
    longer,
    async () => {
      // One sync for each group; how many idle markers come on top depends on the machine.
      const all = Array.from({ length: (cycle.groups ?? 0) - 1 }, (_, at) => at + 1);
      using folder = temporaryFolder();
      const history = new LogHistory(dataIn(folder));
      const found: string[] = [];
      for (const when of sampleOf("S4", all, { ci: 4, full: 30, soak: 1000 })) {
        const inject = `fdatasync:error=EIO:when=${when}`;
        const { run, violations } = await history.next(cycle, { inject, trace: true, bug });
        const failed = run.steps.some(
          ({ step, name, result }) => step === "end" && name === "fdatasync" && result === "EIO",
        );
        found.push(...wrong([...violations, ...powerCutViolations(run, history.folder)], "S4", `${when}`));
        expect(failed, `${run.stderr} ${replay("S4")}`).toBe(true);
        expect(run, replay("S4")).toMatchObject({ code: 70, fatal: expect.stringContaining("HR_LOG_FAILED") });
      }
      const { run, violations } = await history.next({ segmentBytes: cycle.segmentBytes }, { bug });
      expect([...found, ...violations]).toEqual([]);
      expect(run.recovered).toBeDefined();
    },
  );

  test(
    "S4: the sync of the list of history files fails once: it is not tried again behind the failure",
    longer,
    async () => {
      using folder = temporaryFolder();
      const history = new LogHistory(dataIn(folder));
      const path = join(history.folder, "history/manifest");
      const { run, violations } = await history.next(cycle, {
        inject: "fsync:error=EIO:when=2",
        path,
        trace: true,
        bug,
      });
      expect([...violations, ...powerCutViolations(run, history.folder)]).toEqual([]);
      expect(run, run.stderr).toMatchObject({ code: 70, fatal: expect.stringContaining("HR_LOG_FAILED") });
      const after = await history.next(cycle, { bug });
      expect(after.violations).toEqual([]);
      expect(after.run.code, after.run.fatal).toBe(0);
    },
  );
});

describe("S5: a full disk", () => {
  test("S5: ENOSPC refuses with HR_DISK_FULL, and goes on without a restart when there is space", longer, async () => {
    using folder = temporaryFolder();
    const history = new LogHistory(dataIn(folder));
    const { run } = await history.next(
      { ...cycle, retryMs: 1 },
      { inject: "pwrite64,pwritev:error=ENOSPC:when=12..16", bug },
    );
    expect(run.refused.filter((text) => text.startsWith("HR_DISK_FULL")).length).toBeGreaterThan(0);
    expect(run).toMatchObject({ code: 0, fatal: undefined });
    expect(run.acked).toHaveLength(cycle.groups);
    expect((await history.next({ segmentBytes: cycle.segmentBytes }, { bug })).violations).toEqual([]);
  });

  test.runIf(canMount)("S5: a disk of 4 MB that runs full and is given room again", longer, async () => {
    using folder = temporaryFolder();
    using disk = smallDisk(folder.path, 4 << 20);
    const ballast = join(disk.path, "ballast");
    writeFileSync(ballast, new Uint8Array(2 << 20));
    const history = new LogHistory(dataIn(disk));
    let refused = 0;
    const onLine = (line: string): void => {
      if (line.startsWith("refused HR_DISK_FULL") && ++refused === 5) rmSync(ballast);
    };
    const load = { groups: 90, payloadBytes: 30_000, segmentBytes: 256 * 1024 };
    const { run } = await history.next({ ...load, retryMs: 5 }, { onLine, bug });
    expect(refused).toBeGreaterThanOrEqual(5);
    expect(run, run.stderr).toMatchObject({ code: 0, fatal: undefined });
    expect(run.acked).toHaveLength(load.groups);
    expect((await history.next({ segmentBytes: load.segmentBytes }, { bug })).violations).toEqual([]);
  });
});

describe("S6: short writes", () => {
  test(
    "S6: a write that is cut at any byte leaves a group that is there as a whole or not at all",
    longer,
    async () => {
      using folder = temporaryFolder();
      const history = new LogHistory(dataIn(folder));
      const places = sampleOf(
        "S6",
        Array.from({ length: 400 }, (_, at) => 2100 + at * 7),
        { ci: 4, full: 40, soak: 400 },
      );
      const found: string[] = [];
      let torn = 0;
      for (const [index, bytes] of places.entries()) {
        // The kernel writes up to the limit and no further: a real short write, and then an error or a signal.
        const segmentBytes = 1 << 20;
        const { run, violations } = await history.next(
          { groups: 40, segmentBytes, payloadBytes: 1500 },
          { prefix: ["prlimit", `--fsize=${bytes + index * 65_536}`], bug },
        );
        found.push(...wrong([...violations, ...(run.recovered ? [] : [run.fatal ?? "no start"])], "S6", `${bytes}`));
        if (run.code !== 0) torn += 1;
      }
      const { run, violations } = await history.next({ segmentBytes: 1 << 20 }, { bug });
      expect([...found, ...violations]).toEqual([]);
      expect(run.recovered).toBeDefined();
      expect(torn).toBeGreaterThan(0);
    },
  );

  test("S6: a disk that claims to have written what it has not is found out at the next start", longer, async () => {
    using folder = temporaryFolder();
    const history = new LogHistory(dataIn(folder));
    await history.next({ groups: 8, segmentBytes: 1 << 20 }, { inject: "pwritev:retval=3:when=4", bug });
    const { run } = await history.next({ segmentBytes: 1 << 20 }, { bug });
    expect(run).toMatchObject({ code: 71, fatal: expect.stringMatching(/HR_BLOCK_CORRUPT .*segment 1 .*byte \d+/) });
  });
});

test("S7: a log rolls over its segments while the process has no file descriptor left", longer, async () => {
  using folder = temporaryFolder();
  const history = new LogHistory(dataIn(folder));
  const { run, violations } = await history.next(
    { groups: 60, segmentBytes: cycle.segmentBytes, descriptors: "taken", retryMs: 5 },
    { prefix: ["prlimit", "--nofile=80:80"], bug },
  );
  expect(violations).toEqual([]);
  expect(run, run.stderr).toMatchObject({ code: 0, fatal: undefined });
  expect(run.acked).toHaveLength(60);
  const after = await history.next({ segmentBytes: cycle.segmentBytes }, { bug });
  expect(after.violations).toEqual([]);
  expect(after.run.recovered).toHaveLength(60);
});

test("S7: a log that can open no segment refuses, and takes again when there are descriptors", longer, async () => {
  using folder = temporaryFolder();
  const history = new LogHistory(dataIn(folder));
  const { run, violations } = await history.next(
    { groups: 60, segmentBytes: cycle.segmentBytes, descriptors: "none", retryMs: 5 },
    { prefix: ["prlimit", "--nofile=200:200"], bug },
  );
  expect(violations).toEqual([]);
  expect(run, run.stderr).toMatchObject({ code: 0, fatal: undefined });
  expect(run.refused.length).toBeGreaterThan(0);
  for (const text of run.refused) expect(text).toMatch(/^HR_OUT_OF_DESCRIPTORS /);
  expect(run.acked).toHaveLength(60);
});

test("S18: a sync that takes its time delays acknowledgements and loses none", longer, async () => {
  using folder = temporaryFolder();
  const history = new LogHistory(dataIn(folder));
  const started = performance.now();
  const { run } = await history.next(
    { ...cycle, groups: 6 },
    { inject: "fdatasync:delay_enter=2000000:when=4", trace: true, bug },
  );
  expect(performance.now() - started).toBeGreaterThan(2000);
  expect(run).toMatchObject({ code: 0, refused: [] });
  expect(powerCutViolations(run, history.folder)).toEqual([]);
  expect((await history.next({ segmentBytes: cycle.segmentBytes }, { bug })).violations).toEqual([]);
});

test.runIf(canMount)("S2, S3: power is cut under load, also right behind a segment roll", longer, async () => {
  using folder = temporaryFolder();
  using disk = ImageDisk.make(folder.path, 24 << 20);
  const data = dataIn(disk);
  const random = randomOf("S2");
  const cuts = { ci: 3, full: 25, soak: 300 }[scope];
  const found: string[] = [];
  const acked: string[] = [];
  let total = 0;
  let wait = 3;
  const judged: { disk: ImageDisk; acked: string[] }[] = [];
  using stack = new DisposableStack();
  const load: LogLoad = { folder: data, run: 1, groups: 40 + cuts * 10, segmentBytes: 4096 };
  await runLog(load, {
    bug,
    onLine: (line, pid) => {
      if (!line.startsWith("acked ")) return;
      acked.push(line.slice(6));
      if (judged.length >= cuts || --wait > 0) return;
      wait = 1 + Math.floor(random() * 10);
      // Nothing reaches the disk while it is copied.
      process.kill(pid, "SIGSTOP");
      judged.push({ disk: stack.use(disk.cut()), acked: [...acked] });
      process.kill(pid, "SIGCONT");
    },
  });
  for (const [index, { disk: cut, acked }] of judged.entries()) {
    const run = await runLog({ folder: join(cut.path, "data"), run: 2, segmentBytes: 4096 }, { bug });
    total += acked.length;
    if (!run.recovered) found.push(`cut ${index}: ${run.fatal ?? run.stderr}`);
    const there = new Set(run.recovered);
    for (const text of acked) if (!there.has(text)) found.push(`cut ${index}: ${text} was acknowledged and is lost`);
  }
  expect(wrong(found.slice(0, 10), "S2", "")).toEqual([]);
  expect(judged).toHaveLength(cuts);
  expect(total).toBeGreaterThan(0);
});
