/**
 * Goal (P2): a real node makes snapshots while it works, recovers from them whatever happened to the newest, refuses a log that went backwards, and
 * commits outputs far beyond a block as a whole or not at all when it is killed.
 * Method: the command with an application of large states; its files are flipped, set back, and its process is killed.
 */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Item, Kept } from "./fixtures/keeping.ts";
import { appFile, NodeProcess, soon, storedIn, temporaryFolder } from "./node-process.ts";

const app = appFile("keeping");
const devices = ["d0", "d1", "d2"];

class Sender {
  n = 0;
  readonly #node: NodeProcess;
  constructor(node: NodeProcess, n = 0) {
    this.#node = node;
    this.n = n;
  }
  async send(count: number, parts = 0): Promise<void> {
    const items = Array.from({ length: count }, (): Item => ({ n: this.n++, parts }));
    for (const device of devices) {
      const init = { method: "POST", body: JSON.stringify(items) };
      expect((await this.#node.fetch(`/v1/events?stream=items&device=${device}`, init)).status).toBe(200);
    }
  }
}

const keptBy = async (node: NodeProcess): Promise<Kept[]> =>
  (await node.events<Kept>("kept", storedIn(await node.status(), "kept"))).map(({ value }) => value);

/** Every device's events were counted once each, in their order, whatever was recovered in between. */
const expectCounted = async (node: NodeProcess, sent: number): Promise<void> => {
  await node.drained();
  const kept = await keptBy(node);
  const counts = kept.map(({ n, count, part }) => [n, count - 1, part]);
  expect(counts.filter(([n, before]) => n !== before)).toEqual([]);
  expect(new Set(kept.map(({ n }) => n)).size).toBe(sent);
};

const snapshotsIn = (data: string): string[] => {
  try {
    const folder = join(data, "snapshots", "keep", "0");
    const names = readdirSync(folder).filter((name) => name.endsWith(".snap"));
    return names.sort().map((name) => join(folder, name));
  } catch {
    return [];
  }
};
const flip = (file: string): void => {
  const bytes = readFileSync(file);
  bytes[Math.floor(bytes.byteLength / 2)] ^= 1;
  writeFileSync(file, bytes);
};

/** Puts the log of one data folder into another. */
const replaceLog = (data: string, from: string): void => {
  for (const part of ["wal", "history"]) {
    rmSync(join(data, part), { recursive: true });
    cpSync(join(from, part), join(data, part), { recursive: true });
  }
};

/** Sends until two snapshots are there, each of 4 MiB of journal, and the newest holds at least this commit. */
const untilTwoSnapshots = async (sender: Sender, data: string, sequenceMin = 0): Promise<void> => {
  const newest = (): number => Number.parseInt(basename(snapshotsIn(data)[1] ?? "0"), 10);
  for (let round = 0; round < 60 && (snapshotsIn(data).length < 2 || newest() < sequenceMin); round++)
    await sender.send(10);
  const deadline = performance.now() + soon.timeout;
  while (snapshotsIn(data).length < 2 && performance.now() < deadline) await sleep(50);
  expect(snapshotsIn(data)).toHaveLength(2);
};

describe("a node that was killed with two snapshots", { timeout: 300_000 }, () => {
  const folder = temporaryFolder();
  afterAll(() => folder[Symbol.dispose]());
  const early = join(folder.path, "early");
  const late = join(folder.path, "late");
  let sentEarly = 0;
  let sentLate = 0;

  beforeAll(async () => {
    const data = join(folder.path, "data");
    {
      await using node = await NodeProcess.start({ app, data });
      const sender = new Sender(node);
      await sender.send(5);
      await node.drained();
      sentEarly = sender.n;
      expect(snapshotsIn(data)).toEqual([]);
      await node.end("SIGTERM");
    }
    cpSync(data, early, { recursive: true });
    await using node = await NodeProcess.start({ app, data });
    const sender = new Sender(node, sentEarly);
    await untilTwoSnapshots(sender, data);
    await expectCounted(node, sender.n);
    sentLate = sender.n;
    await node.end("SIGKILL");
    cpSync(data, late, { recursive: true });
  }, 300_000);

  const copyOf = (from: string, name: string): string => {
    const data = join(folder.path, name);
    cpSync(from, data, { recursive: true });
    return data;
  };
  const refusal = async (data: string): Promise<string> => {
    await using node = new NodeProcess({ app, data });
    const { code, stdout, stderr } = await node.ended;
    expect(code).not.toBe(0);
    return `${stdout}${stderr}`;
  };

  test("S13: recovers from the older one when the newest is damaged", async () => {
    const data = copyOf(late, "s13");
    flip(snapshotsIn(data)[1] as string);
    await using node = await NodeProcess.start({ app, data });
    const sender = new Sender(node, sentLate);
    await sender.send(1);
    await expectCounted(node, sender.n);
    const ended = await node.end("SIGTERM");
    expect(`${ended.stdout}${ended.stderr}`).toMatch(/damaged and passed over/);
  });

  test("S14: rebuilds the state from the log when both are damaged and the log reaches back", async () => {
    const data = copyOf(late, "s14");
    for (const file of snapshotsIn(data)) flip(file);
    await using node = await NodeProcess.start({ app, data });
    const sender = new Sender(node, sentLate);
    await sender.send(1);
    await expectCounted(node, sender.n);
  });

  test("S16: refuses a log that went backwards", async () => {
    const data = copyOf(late, "s16");
    replaceLog(data, early);
    expect(await refusal(data)).toMatch(/HR_SNAPSHOT_MISMATCH|the log went backwards/);
  });

  test("S17: refuses a log that was set back and has gone on with other commits", async () => {
    const data = copyOf(early, "s17");
    const sequence = Number.parseInt(basename(snapshotsIn(late)[1] as string), 10);
    {
      await using node = await NodeProcess.start({ app, data });
      // Other events than in the life before.
      const sender = new Sender(node, sentEarly + 1_000_000);
      await untilTwoSnapshots(sender, data, sequence);
      await node.end("SIGTERM");
    }
    rmSync(join(data, "snapshots"), { recursive: true });
    cpSync(join(late, "snapshots"), join(data, "snapshots"), { recursive: true });
    expect(await refusal(data)).toMatch(/HR_SNAPSHOT_MISMATCH|another one than the snapshot was made of/);
  });
});

test("P2 two megabytes of outputs an event are there once and whole, however often the node is killed", {
  timeout: 300_000,
}, async () => {
  using folder = temporaryFolder();
  const parts = 8;
  let sent = 0;
  for (let kill = 0; kill < 4; kill++) {
    await using node = await NodeProcess.start({ app, data: folder.path });
    const sender = new Sender(node, sent);
    await sender.send(3, parts);
    sent = sender.n;
    await sleep(kill * 40);
    await node.end("SIGKILL");
  }
  await using node = await NodeProcess.start({ app, data: folder.path });
  await expectCounted(node, sent);
  const kept = await keptBy(node);
  expect(kept).toHaveLength(sent * devices.length * parts);
  const [first] = kept;
  expect(first).toMatchObject({ n: 0, count: 1, part: 0 });
});
