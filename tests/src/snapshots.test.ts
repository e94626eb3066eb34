/**
 * Goal (P2): a real node makes snapshots while it works, recovers from them whatever happened to the newest, refuses a log that went backwards, and
 * commits outputs far beyond a block as a whole or not at all when it is killed.
 * Method: the command with an application of large states; its files are flipped, set back, and its process is killed.
 */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
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

test("S13, S16: a node recovers from the older snapshot, and refuses a log that went backwards", {
  timeout: 300_000,
}, async () => {
  using folder = temporaryFolder();
  using copy = temporaryFolder();
  const data = join(folder.path, "data");
  let sent = 0;
  {
    await using node = await NodeProcess.start({ app, data });
    const sender = new Sender(node);
    await sender.send(5);
    await node.drained();
    sent = sender.n;
    expect(snapshotsIn(data)).toEqual([]);
    await node.end("SIGTERM");
  }
  for (const part of ["wal", "history"]) cpSync(join(data, part), join(copy.path, part), { recursive: true });
  {
    await using node = await NodeProcess.start({ app, data });
    const sender = new Sender(node, sent);
    // Until two snapshots are there: each 4 MiB of journal make one.
    while (snapshotsIn(data).length < 2 && sender.n < 500) await sender.send(10);
    await expect.poll(() => snapshotsIn(data).length, soon).toBe(2);
    await expectCounted(node, sender.n);
    sent = sender.n;
    await node.end("SIGKILL");
  }
  flip(snapshotsIn(data)[1] as string);
  {
    await using node = await NodeProcess.start({ app, data });
    const sender = new Sender(node, sent);
    await sender.send(1);
    await expectCounted(node, sender.n);
    const ended = await node.end("SIGTERM");
    expect(`${ended.stdout}${ended.stderr}`).toMatch(/damaged and passed over/);
  }
  for (const part of ["wal", "history"]) {
    rmSync(join(data, part), { recursive: true });
    cpSync(join(copy.path, part), join(data, part), { recursive: true });
  }
  await using node = new NodeProcess({ app, data });
  const ended = await node.ended;
  expect(ended.code).not.toBe(0);
  expect(`${ended.stdout}${ended.stderr}`).toMatch(/HR_SNAPSHOT_MISMATCH|the log went backwards/);
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
