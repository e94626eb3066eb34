/**
 * Goal: P1 over a process that is killed and a power cut later: what a start reads from the kernel's cache is made durable before anything relies on it. Method: the
 * log on the simulated disk, killed at every call of a kind, started again, and the power cut, with many outcomes of what was not synced.
 */
import { readBlockHeader } from "@headrace/engine";
import { testBlock } from "@headrace/testkit";
import { SimulatedDisk, seededRandom } from "@headrace/testkit/simulation";
import { expect, test } from "vitest";
import { EmbeddedLog } from "./embedded.ts";
import { type Maintenance, maintenanceSteps } from "./maintenance.ts";

interface Run {
  readonly disk: SimulatedDisk;
  /** Sequence behind what was acknowledged. */
  durable: number;
}

const newRun = (seed: number): Run => ({
  disk: new SimulatedDisk({ random: seededRandom(seed), pass: () => undefined, onCut: () => undefined }),
  durable: 0,
});

const open = async ({ disk }: Run, arm = (): void => undefined): Promise<{ log: EmbeddedLog; logId: number }> => {
  const files = disk.openProcess();
  arm();
  const steps = maintenanceSteps(files);
  const startMaintenance = (): Maintenance => ({
    prepare: async (...args) => steps.prepare(...args),
    rewrite: async (...args) => steps.rewrite(...args),
    removeSegment: async (...args) => steps.removeSegment(...args),
    dropHistory: async (...args) => steps.dropHistory(...args),
    close: async () => undefined,
  });
  const system = { files, startMaintenance, random32: () => 7 };
  const log = await EmbeddedLog.open({ folder: "/data", segmentBytes: 4096, onFatal: () => undefined, system });
  return { log, logId: await idOf(log) };
};

/** The id of the log, durable unless the process ends first. */
const idOf = async (log: EmbeddedLog): Promise<number> => {
  const opened = log.open("stream/s/0", "stream").then(({ id }) => id);
  return await Promise.race([opened, new Promise<number>((resolve) => setTimeout(() => resolve(1), 50))]);
};

/** Appends records until the process ends, or so many are durable; a repeat of what is there already is not needed. */
const append = async (run: Run, log: EmbeddedLog, logId: number, count: number): Promise<void> => {
  let isOver = false;
  for (let appended = 0; appended < count && !isOver; appended++) {
    const sequence = log.endSequence({ logId, writer: 0 });
    const stored = log.append([testBlock({ logId, writer: 0, epoch: 1, sequence })]).then(
      () => {
        run.durable = sequence + 1;
      },
      () => {
        isOver = true;
      },
    );
    await Promise.race([stored, new Promise((resolve) => setTimeout(resolve, 50))]);
    if (run.durable !== sequence + 1) isOver = true;
  }
};

const expectAll = async (run: Run, what: string): Promise<void> => {
  const { log, logId } = await open(run);
  expect(log.endSequence({ logId, writer: 0 }), what).toBeGreaterThanOrEqual(run.durable);
  let at = 0;
  while (at < run.durable) {
    const blocks = await log.read({ logId, writer: 0 }, at, 1 << 20);
    if (blocks.length === 0) break;
    for (const block of blocks) {
      const { sequence, recordCount } = readBlockHeader(block);
      expect(sequence, what).toBe(at);
      at = sequence + recordCount;
    }
  }
  expect(at, what).toBeGreaterThanOrEqual(run.durable);
};

/** First life killed at the n-th call that matches, second life goes on a little, then the power goes; the third has everything. */
const killedAt = async (place: RegExp, calls: number, seed: number): Promise<void> => {
  const run = newRun(seed);
  const opened = await open(run, () => run.disk.cutIn(calls, (call, path) => place.test(`${call} ${path}`))).catch(
    () => undefined,
  );
  if (opened) await append(run, opened.log, opened.logId, 60);
  run.disk.kill();
  const second = await open(run);
  // What the start found is as good as acknowledged: a repeat of it would be answered without being stored again.
  run.durable = second.log.endSequence({ logId: second.logId, writer: 0 });
  await append(run, second.log, second.logId, seed % 3);
  run.disk.cutPower();
  await expectAll(run, `killed at call ${calls} of ${place}, seed ${seed}`);
};

test("a frame that a killed process has written and not synced is durable once a start has read it", async () => {
  for (let seed = 1; seed <= 12; seed++) await killedAt(/^fdatasync .*\.wal$/, 1 + (seed % 9), seed);
});

test("a frame whose sync has failed is written again by the next start: no later sync would write it", async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const run = newRun(seed);
    const { log, logId } = await open(run);
    await append(run, log, logId, 3);
    run.disk.faults = { shortWrite: 0, writeError: 0, slowSync: 0, syncError: 1 };
    await append(run, log, logId, 1);
    run.disk.faults = { shortWrite: 0, writeError: 0, slowSync: 0, syncError: 0 };
    run.disk.kill();
    const second = await open(run);
    run.durable = second.log.endSequence({ logId, writer: 0 });
    await append(run, second.log, logId, 2);
    run.disk.cutPower();
    await expectAll(run, `seed ${seed}`);
  }
});

test("a segment is not deleted by a line of the list of history that may not be on disk", async () => {
  for (let seed = 1; seed <= 24; seed++) await killedAt(/^fsync .*\/manifest$/, 1 + (seed % 2), seed);
});

test("folders and files that a killed process has made and whose names it has not synced are there after a power cut", async () => {
  for (let calls = 1; calls <= 4; calls++)
    for (let seed = 1; seed <= 8; seed++) await killedAt(/^fsync \/(data(\/wal|\/history)?)?$/, calls, seed);
});
