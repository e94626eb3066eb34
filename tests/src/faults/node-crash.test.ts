/**
 * Goal (P1, P2): a node that is killed, stopped, paused or short of space loses nothing that it acknowledged, counts every event once and sends every
 * command that it owes, always with the same id.
 * Method: the command with a small application and two devices that send with sequences; its process is treated badly; then log, outputs and what the
 * devices were told are compared.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import mqtt from "mqtt";
import { describe, expect, test } from "vitest";
import { plantedArgs } from "../../planted/index.ts";
import { type Counted, countingViolationsOf, violationsOf } from "../checker.ts";
import type { Load } from "../fixtures/counting.ts";
import { appFile, NodeProcess, soon, stablePort, storedIn, temporaryFolder } from "../node-process.ts";
import { canMount, smallDisk } from "./mounts.ts";
import { OwedDevice } from "./owed-device.ts";
import { randomOf, replay, scope } from "./scope.ts";

const longer = { timeout: scope === "ci" ? 240_000 : 900_000 };
const nodeArgs = plantedArgs(process.env.HEADRACE_PLANTED);
const app = appFile("owing");
const kills = { ci: 4, full: 10, soak: 60 }[scope];
/** With a planted bug something never comes: then there is no point in a long wait. */
const patience = { ...soon, timeout: process.env.HEADRACE_PLANTED === undefined ? 60_000 : 10_000 };

/** Everything that was acknowledged is processed, and every command has arrived. */
async function settled(node: NodeProcess, devices: readonly OwedDevice[]): Promise<void> {
  for (const device of devices) {
    device.quiet();
    await expect.poll(() => device.acknowledged.length, patience).toBe(device.sent.length);
  }
  const lag = async (): Promise<number> => (await node.status()).tasks.reduce((sum, task) => sum + task.lagEvents, 0);
  await expect.poll(lag, patience).toBe(0);
  for (const device of devices) await expect.poll(() => device.commands.size, patience).toBe(device.sent.length);
}

/** What log, outputs and commands disagree about. */
async function violationsIn(node: NodeProcess, devices: readonly OwedDevice[]): Promise<string[]> {
  const status = await node.status();
  const events = await node.events<Load>("load", storedIn(status, "load"));
  const stored = events.map(({ device, value: { epoch, n } }) => ({ device, epoch, sequence: n }));
  const sent = devices.flatMap((device) => device.sent);
  const acknowledged = devices.flatMap((device) => device.acknowledged);
  const answers = await node.events<Counted & { n: number }>("counted", storedIn(status, "counted"));
  const counted = answers.map(({ device, value }): Counted => ({ ...value, device, sequence: value.n }));
  const commands = devices.flatMap(({ name, commands }) =>
    [...commands].filter(([, ids]) => ids.size > 1).map(([n, ids]) => `${name} ${n} was sent as ${[...ids].join()}`),
  );
  return [
    ...violationsOf({ sent, acknowledged, stored }, "exactlyOnce"),
    ...countingViolationsOf(stored, counted),
    ...commands,
  ].map((text) => `${text} (${replay("P16")})`);
}

const devicesOn = (port: number): OwedDevice[] => [new OwedDevice(port, "d1"), new OwedDevice(port, "d2")];

test(
  `S1, P16: ${kills} kills under load, also between commit and delivery: every command arrives, with one id`,
  longer,
  async () => {
    using folder = temporaryFolder();
    await using stack = new AsyncDisposableStack();
    const mqttPort = await stablePort();
    const options = { app, data: folder.path, mqttPort, nodeArgs };
    const random = randomOf("P16");
    let devices: OwedDevice[] = [];
    for (let kill = 0; kill < kills; kill++) {
      await using node = await NodeProcess.start(options);
      if (devices.length === 0) devices = devicesOn(mqttPort).map((device) => stack.use(device));
      // Once in four surely with messages that are acknowledged and not processed, on tasks that have committed before.
      const isBusy = kill % 4 === 1;
      if (isBusy) for (const device of devices) device.occupy(2000);
      const before = devices.map((device) => device.acknowledged.length);
      for (const [at, device] of devices.entries())
        await expect.poll(() => device.acknowledged.length, soon).toBeGreaterThan(before[at]! + 20);
      if (!isBusy) await sleep(random() * 200);
      await node.end("SIGKILL");
    }
    await using node = await NodeProcess.start(options);
    await settled(node, devices);
    expect(await violationsIn(node, devices)).toEqual([]);
  },
);

test(
  "P1: SIGTERM under load takes nothing more in, says 0x8B to every device, and ends with 0 in time",
  longer,
  async () => {
    using folder = temporaryFolder();
    await using stack = new AsyncDisposableStack();
    const mqttPort = await stablePort();
    const options = { app, data: folder.path, mqttPort, nodeArgs };
    let devices: OwedDevice[] = [];
    {
      await using node = await NodeProcess.start(options);
      devices = devicesOn(mqttPort).map((device) => stack.use(device));
      for (const device of devices) await expect.poll(() => device.acknowledged.length, soon).toBeGreaterThan(50);
      const { code, signal, stdout } = await node.end("SIGTERM");
      expect({ code, signal }, stdout).toEqual({ code: 0, signal: null });
      // The node ends itself with 1 when a stop takes longer than its limit of 5 s.
      for (const { goodbyes } of devices) expect(goodbyes).toEqual([0x8b]);
    }
    await using node = await NodeProcess.start(options);
    await settled(node, devices);
    expect(await violationsIn(node, devices)).toEqual([]);
  },
);

test(
  "P2: a node that is paused for longer than anybody waits goes on, or is refused by its successor's lock",
  longer,
  async () => {
    using folder = temporaryFolder();
    await using stack = new AsyncDisposableStack();
    const mqttPort = await stablePort();
    const options = { app, data: folder.path, mqttPort, nodeArgs };
    await using node = await NodeProcess.start(options);
    const devices = devicesOn(mqttPort).map((device) => stack.use(device));
    for (const device of devices) await expect.poll(() => device.acknowledged.length, soon).toBeGreaterThan(50);
    process.kill(node.pid, "SIGSTOP");
    // Embedded, the lock of the folder is the lease: it does not run out while its owner is paused, so there is no zombie.
    await using second = new NodeProcess({ ...options, mqttPort: 0 });
    const { code, stderr } = await second.ended;
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("HR_DATA_FOLDER_LOCKED") });
    await sleep(3000);
    process.kill(node.pid, "SIGCONT");
    await settled(node, devices);
    expect(await violationsIn(node, devices)).toEqual([]);
  },
);

test("S19: the lock of a node that was killed is taken over at once", longer, async () => {
  using folder = temporaryFolder();
  const options = { app, data: folder.path, nodeArgs };
  {
    await using node = await NodeProcess.start(options);
    await node.end("SIGKILL");
  }
  await using node = await NodeProcess.start(options);
  expect((await node.status()).tasks.length).toBeGreaterThan(0);
});

describe("S20: a data folder that cannot be used", () => {
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const refusedIn = async (data: string, prefix: readonly string[] = []): Promise<void> => {
    await using node = new NodeProcess({ app, data, prefix, nodeArgs });
    const { code, stderr } = await node.ended;
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("HR_DATA_FOLDER_UNUSABLE") });
    expect(stderr).toContain(data);
  };

  test("S20: a file in its place, and a link that leads nowhere", longer, async () => {
    using folder = temporaryFolder();
    const data = join(folder.path, "data");
    writeFileSync(data, "");
    await refusedIn(data);
  });

  test.runIf(process.getuid?.() === 0)("S20: a folder of somebody else", longer, async () => {
    using folder = temporaryFolder();
    const data = join(folder.path, "data");
    mkdirSync(data, { mode: 0o700 });
    // The node could be run by nobody: what it is refused is the folder.
    await refusedIn(data, nobody);
  });
});

test.runIf(canMount)(
  "S5: a full disk refuses QoS 1 with 0x97 and HTTP with 429 and Retry-After, and takes both again when there is room",
  longer,
  async () => {
    using folder = temporaryFolder();
    using disk = smallDisk(folder.path, 8 << 20);
    const ballast = join(disk.path, "ballast");
    const data = join(disk.path, "data");
    await using node = await NodeProcess.start({ app, data, nodeArgs });
    const answer = (n: number): Promise<Response> => {
      const body = JSON.stringify({ epoch: 1, n, filler: "x".repeat(20_000) });
      return node.fetch("/v1/events?stream=load&device=d3", { method: "POST", body });
    };
    const post = async (n: number): Promise<number> => (await answer(n)).status;
    expect(await post(1)).toBe(200);
    // Whatever is left is taken, so that the next group finds no room.
    for (const bytes of [1 << 20, 1 << 16, 1 << 12]) {
      for (let at = 0; ; at++) {
        try {
          writeFileSync(`${ballast}-${bytes}-${at}`, new Uint8Array(bytes));
        } catch {
          rmSync(`${ballast}-${bytes}-${at}`, { force: true });
          break;
        }
      }
    }
    const refusals: number[] = [];
    let taken = 1;
    for (let n = 2; refusals.length < 3 && n < 1000; n++) {
      const status = await post(n);
      if (status === 200) taken += 1;
      else refusals.push(status);
    }
    // What every client treats as "later": it must not give the message up.
    expect(refusals).toEqual([429, 429, 429]);
    const refused = await answer(1400);
    expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(await refused.json()).toMatchObject({ error: { code: "HR_DISK_FULL" } });
    const client = await mqtt.connectAsync({
      host: "127.0.0.1",
      port: node.mqttPort,
      protocolVersion: 5,
      clientId: "d3",
    });
    const publish = (n: number): Promise<unknown> =>
      client.publishAsync("load/d3", JSON.stringify({ epoch: 1, n, filler: "x".repeat(20_000) }), { qos: 1 });
    await expect(publish(1500)).rejects.toMatchObject({ code: 0x97 });
    for (const bytes of [1 << 20, 1 << 16, 1 << 12])
      for (let at = 0; at < 300; at++) rmSync(`${ballast}-${bytes}-${at}`, { force: true });
    await expect.poll(() => post(2000), soon).toBe(200);
    await publish(2001);
    await client.endAsync();
    expect(node.isEnded).toBe(false);
    await expect.poll(async () => storedIn(await node.status(), "load"), soon).toBe(taken + 2);
  },
);
