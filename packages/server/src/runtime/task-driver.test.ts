/**
 * Goal: a task has one owner, whatever overlaps: starts of one driver, drivers of two releases, and a worker that was paused and comes back (P2).
 * Method: real drivers, tasks and leases over a real log whose calls take as long as the test says; the log and its outputs are compared with
 * what one owner would have made.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import type { Leases } from "@headrace/engine";
import { MemoryLeases } from "@headrace/testkit";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { countingPlan, DrivenTask, outcome, storeEvents } from "../../test/driven-task.ts";
import { EmbeddedLeases } from "../leases/index.ts";
import { EmbeddedLog, nodeLogSystem, type Syncer } from "../log/index.ts";
import { Snapshots } from "./snapshots/index.ts";
import { TaskDriver } from "./task-driver.ts";

let folder: string;
let log: EmbeddedLog;
let leases: Leases;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headrace-driver-"));
  log = await EmbeddedLog.open({
    folder,
    onFatal: (error) => {
      throw error;
    },
  });
  leases = await EmbeddedLeases.open(log, "n", () => 1000);
});
afterEach(async () => {
  await log.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The log, with pauses in front of its asynchronous calls: `pauses` says how many turns, call by call. */
const slowed = (pauses: () => number): EmbeddedLog =>
  new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (name !== "open" && name !== "fence" && name !== "read") return value.bind(target);
      return async (...args: unknown[]) => {
        for (let left = pauses(); left > 0; left--) await turn();
        return Reflect.apply(value, target, args) as unknown;
      };
    },
  });

const newDriver = (over: EmbeddedLog, failures: string[], more: { leases?: Leases } = {}): TaskDriver =>
  new TaskDriver({
    log: over,
    leases,
    plan: countingPlan,
    inputLogs: ["stream/in/0"],
    snapshots: new Snapshots(log, join(folder, "snapshots")),
    early: true,
    onCommitted: () => undefined,
    onFailed: (error) => failures.push((error as { code: string }).code),
    ...more,
  });
const started = async (driver: TaskDriver): Promise<DrivenTask> => {
  const port = new DrivenTask();
  port.driver = driver;
  await driver.start(port);
  return port;
};

let stored = 0;
/** Until the task has all of its input; a zombie does not get any further. */
const caughtUp = async (port: DrivenTask): Promise<void> => {
  for (let left = 50; left > 0 && port.task?.processed !== stored; left--) await turn();
};
const store = async (count: number): Promise<void> => {
  const ids = Array.from({ length: count }, (_, index) => stored + index);
  stored += count;
  await storeEvents(log, ids);
};
beforeEach(() => {
  stored = 0;
});
const all = (): number[] => Array.from({ length: stored }, (_, id) => id);

test("of starts of a driver that overlap the last one has the task, and can go on committing, whatever the order of their steps", async () => {
  // From the second run on the task has a journal, and its channels have epochs.
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(4), { minLength: 40, maxLength: 40 }),
      fc.array(fc.nat(6), { minLength: 1, maxLength: 3 }),
      async (pauses, gaps) => {
        const failures: string[] = [];
        let call = 0;
        const driver = newDriver(
          slowed(() => pauses[call++ % pauses.length]),
          failures,
        );
        const starts = [started(driver)];
        for (const gap of gaps) {
          for (let left = gap; left > 0; left--) await turn();
          starts.push(started(driver));
        }
        const ports = await Promise.all(starts);
        const last = ports[ports.length - 1];
        for (const port of ports.slice(0, -1)) expect(port.epoch).toBeLessThan(last.epoch);
        expect(driver.state).toBe("running");
        await store(2);
        await caughtUp(last);
        await last.commit(last.take());
        expect(failures).toEqual([]);
        expect((await outcome(log)).ids).toEqual(all());
        await driver.close();
      },
    ),
    { numRuns: 15 },
  );
});

test("a block that is written when a task begins to watch, or that it passes over, reaches it once it is durable, also when nothing comes behind it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(6), { minLength: 8, maxLength: 8 }),
      fc.array(fc.nat(8), { minLength: 1, maxLength: 4 }),
      async (turns, gaps) => {
        let call = 0;
        const syncer: Syncer = {
          sync: (_descriptor, done) => {
            void (async () => {
              for (let left = turns[call++ % turns.length]; left >= 0; left--) await turn();
              done(undefined);
            })();
          },
          close: () => undefined,
        };
        const own = mkdtempSync(join(tmpdir(), "headrace-driver-"));
        const fatal = (error: Error): never => {
          throw error;
        };
        const late = await EmbeddedLog.open({
          folder: own,
          onFatal: fatal,
          system: { ...nodeLogSystem, startSync: () => syncer },
        });
        const failures: string[] = [];
        const driver = newDriver(late, failures, { leases: await EmbeddedLeases.open(late, "n", () => 1000) });
        let count = 0;
        let storing = Promise.resolve();
        const storeOne = (): void => {
          const id = count++;
          storing = storing.then(() => storeEvents(late, [id]));
        };
        storeOne();
        const starting = started(driver);
        for (const gap of gaps) {
          for (let left = gap; left > 0; left--) await turn();
          storeOne();
        }
        await storing;
        const port = await starting;
        for (let left = 100; left > 0 && port.task?.processed !== count; left--) await turn();
        expect([port.task?.processed, failures]).toEqual([count, []]);
        await driver.close();
        await late.close();
        rmSync(own, { recursive: true, force: true });
      },
    ),
    { numRuns: 40 },
  );
});

test("of two drivers that take a task over at once the later lease has it, and the other is refused at its next commit", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(3), { minLength: 30, maxLength: 30 }), async (pauses) => {
      let call = 0;
      const pause = (): number => pauses[call++ % pauses.length];
      const failures: string[][] = [[], []];
      const drivers = failures.map((own) => newDriver(slowed(pause), own));
      const settled = await Promise.allSettled(drivers.map(started));
      const ports = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
      for (const one of settled) if (one.status === "rejected") expect(one.reason).toMatchObject({ code: "HR_FENCED" });
      await store(3);
      const owner = ports.reduce((a, b) => (a.epoch > b.epoch ? a : b));
      for (const port of ports) await caughtUp(port);
      // The zombie is the first to write.
      for (const port of ports.filter((one) => one !== owner)) await port.commit(port.take());
      await owner.commit(owner.take());
      const { ids, epochs } = await outcome(log);
      expect(ids).toEqual(all());
      expect(epochs.at(-1)).toBe(owner.epoch);
      expect(failures[drivers.indexOf(owner.driver ?? drivers[0])]).toEqual([]);
      for (const driver of drivers) await driver.close();
    }),
    { numRuns: 10 },
  );
});

test("P2: a holder that is paused for three times its lease comes back as a zombie: its commit is refused, its outputs never leave", async () => {
  let nowMs = 0;
  const ttlMs = 10_000;
  const shared = new MemoryLeases({ nowMs: () => nowMs, ttlMs });
  const failures = { paused: [] as string[], successor: [] as string[] };
  const paused = await started(newDriver(log, failures.paused, { leases: shared.connect("a") }));
  await store(4);
  await caughtUp(paused);
  await paused.commit(paused.take());
  await store(3);
  await caughtUp(paused);
  // It has handled three more events and made their commit; then it stops, in front of its append.
  const commit = paused.take();
  const successor = newDriver(log, failures.successor, { leases: shared.connect("b") });
  await expect(started(successor)).rejects.toMatchObject({ code: "HR_LEASE_HELD" });
  nowMs += 3 * ttlMs;
  const next = await started(successor);
  await store(2);
  // It wakes: once before its successor has committed anything, once behind it.
  await paused.commit(commit);
  expect(failures.paused).toEqual(["HR_FENCED"]);
  expect((await outcome(log)).ids).toEqual([0, 1, 2, 3]);
  await caughtUp(next);
  await next.commit(next.take());
  await paused.commit(commit);
  expect(failures.paused).toEqual(["HR_FENCED", "HR_FENCED"]);
  expect(failures.successor).toEqual([]);
  const { ids, epochs } = await outcome(log);
  expect(ids).toEqual(all());
  expect(new Set(epochs).size).toBe(2);
  await successor.close();
  expect(await shared.connect("c").holder(countingPlan.name)).toBeUndefined();
});

test("a commit that is on its way when the task is taken over is in the state that is read, or is never stored", async () => {
  const failures: string[] = [];
  for (let pause = 0; pause < 6; pause++) {
    const before = await started(newDriver(log, failures));
    await store(2);
    await caughtUp(before);
    const onItsWay = before.commit(before.take());
    for (let left = pause; left > 0; left--) await Promise.resolve();
    if (pause === 5) await turn();
    const after = await started(newDriver(log, failures));
    await onItsWay;
    await store(1);
    await caughtUp(after);
    await after.commit(after.take());
    expect((await outcome(log)).ids).toEqual(all());
  }
  expect(new Set(failures)).toEqual(new Set(["HR_FENCED"]));
});
