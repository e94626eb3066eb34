/**
 * Goal: fleets speak MQTT that an independent server understands, lose nothing, and come back.
 * Method: real mosquitto and its own clients; a subscriber writes down every sequence that reaches the server.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { defineFleet, type FleetSnapshot, runFleet, startFleet } from "../src/index.ts";
import { freePort, hasMosquitto, startMosquitto } from "./mosquitto.ts";

const fleet = defineFleet({
  devices: 20,
  rate: 50,
  jitter: 0.5,
  topic: ({ id }) => `plants/north/pumps/${id}`,
  payload: (_device, index, random) => ({ index, noise: random() }),
});

/** Far more than it takes: a busy machine must not fail a test. */
const soon = { timeout: 10_000 };

interface Received {
  readonly device: string;
  readonly epoch: string;
  readonly sequence: number;
  readonly payload: string;
}

/** Everything that arrives at the server, as mosquitto_sub prints it. */
async function subscribe(port: number) {
  const format = "%t|%P|%p";
  const child = spawn("mosquitto_sub", ["-V", "5", "-p", `${port}`, "-q", "1", "-t", "plants/#", "-F", format]);
  const received: Received[] = [];
  createInterface(child.stdout).on("line", (line) => {
    const [topic, properties, payload] = line.split("|") as [string, string, string];
    const [, epoch, sequence] = /hr-epoch:(\d+) hr-seq:(\d+)/.exec(properties) ?? [];
    received.push({ device: topic.split("/")[3]!, epoch: epoch!, sequence: Number(sequence), payload });
  });
  await sleep(200);
  return {
    received,
    async [Symbol.asyncDispose]() {
      const exited = new Promise((exit) => child.once("exit", exit));
      child.kill();
      await exited;
    },
  };
}

describe.runIf(hasMosquitto)("a fleet on mosquitto", () => {
  test("sends every message once, in order, with epoch and sequence, and drains", async () => {
    await using server = await startMosquitto();
    await using subscriber = await subscribe(server.port);
    const snapshots: FleetSnapshot[] = [];
    const acknowledged: string[] = [];
    const last = await runFleet(fleet, {
      port: server.port,
      seed: "one",
      epoch: 7,
      signal: AbortSignal.timeout(2000),
      snapshotIntervalMs: 500,
      onSnapshot: (snapshot) => snapshots.push(snapshot),
      onAcknowledged: (device, epoch, sequence) => acknowledged.push(`${device} ${epoch} ${sequence}`),
    });
    expect(last).toMatchObject({ devices: 20, inflight: 0, refused: 0, repeated: 0, reconnects: 0, connected: 0 });
    expect(last.sent).toBeGreaterThan(1000);
    expect(last.acknowledged).toBe(last.sent);
    expect(last.ackLatencyMs.p50).toBeGreaterThan(0);
    expect(snapshots.some(({ connected }) => connected === 20)).toBe(true);

    await expect.poll(() => subscriber.received.length, soon).toBe(last.sent);
    expect(subscriber.received.every(({ epoch }) => epoch === "7")).toBe(true);
    for (const [device, received] of Map.groupBy(subscriber.received, ({ device }) => device)) {
      expect(received.map(({ sequence }) => sequence)).toEqual(received.map((_, index) => index + 1));
      expect(acknowledged).toContain(`${device} 7 ${received.length}`);
    }
  });

  test("says the same for the same seed, whatever the timing", async () => {
    const said = async (rate: number) => {
      await using server = await startMosquitto();
      await using subscriber = await subscribe(server.port);
      const signal = AbortSignal.timeout(600);
      const last = await runFleet({ ...fleet, devices: 3, rate }, { port: server.port, seed: "same", signal });
      await expect.poll(() => subscriber.received.length, soon).toBe(last.sent);
      return Map.groupBy(subscriber.received, ({ device }) => device);
    };
    const [slow, fast] = [await said(20), await said(100)];
    for (const [device, received] of slow) {
      const payloads = received.map(({ payload }) => payload);
      expect(payloads.length).toBeGreaterThan(0);
      expect(
        fast
          .get(device)
          ?.slice(0, payloads.length)
          .map(({ payload }) => payload),
      ).toEqual(payloads);
    }
  });

  test("comes back after the server was killed, and sends again what was not acknowledged", async () => {
    await using server = await startMosquitto();
    const acknowledged = new Map<string, number[]>();
    const running = startFleet(fleet, {
      port: server.port,
      onAcknowledged: (device, _epoch, sequence) =>
        acknowledged.set(device, [...(acknowledged.get(device) ?? []), sequence]),
    });
    await expect.poll(() => running.snapshot().connected, soon).toBe(20);
    await server.kill();
    await expect.poll(() => running.snapshot().connected, soon).toBe(0);
    // Full windows skip what is due instead of queueing it.
    await expect.poll(() => running.snapshot().skipped, soon).toBeGreaterThan(0);
    expect(running.snapshot().inflight).toBeLessThanOrEqual(20 * 20);
    await server.start();
    await expect.poll(() => running.snapshot().connected, soon).toBe(20);
    const last = await running.stop();
    expect(last).toMatchObject({ reconnects: 20, inflight: 0 });
    expect(last.acknowledged).toBe(last.sent);
    for (const sequences of acknowledged.values()) expect(sequences).toEqual(sequences.map((_, index) => index + 1));
  });

  test("loses nothing on a link that breaks in the middle of messages", async () => {
    await using server = await startMosquitto();
    await using subscriber = await subscribe(server.port);
    const link = { loss: 0.02, disconnectEverySeconds: 1, reconnectDelayMs: 30 };
    const last = await runFleet({ ...fleet, link }, { port: server.port, signal: AbortSignal.timeout(2000) });
    expect(last.reconnects).toBeGreaterThan(5);
    expect(last.repeated).toBeGreaterThan(0);
    expect(last).toMatchObject({ inflight: 0, acknowledged: last.sent });
    const distinct = () => new Set(subscriber.received.map(({ device, sequence }) => `${device} ${sequence}`)).size;
    await expect.poll(distinct, soon).toBe(last.sent);
  });

  test("answers commands", async () => {
    await using server = await startMosquitto();
    const commands = (_device: unknown, { name, args }: { name: string; args: unknown }) => ({ name, args });
    await using running = startFleet({ ...fleet, devices: 1, commands }, { port: server.port });
    await expect.poll(() => running.snapshot().acknowledged, soon).toBeGreaterThan(0);
    const waiting = spawn("mosquitto_sub", [
      "-p",
      `${server.port}`,
      "-C",
      "1",
      "-q",
      "1",
      "-t",
      "devices/+/commands/+/ack",
      "-v",
    ]);
    const line = new Promise((resolve) => createInterface(waiting.stdout).once("line", resolve));
    await sleep(200);
    const payload = JSON.stringify({ id: "c1", name: "fan", args: { on: true }, deadline: Date.now() + 5000 });
    const topic = "devices/device-0001/commands/fan";
    spawn("mosquitto_pub", ["-p", `${server.port}`, "-q", "1", "-t", topic, "-m", payload]);
    expect(await line).toBe(
      'devices/device-0001/commands/c1/ack {"ok":true,"result":{"name":"fan","args":{"on":true}}}',
    );
    await expect.poll(() => running.snapshot(), soon).toMatchObject({ commandsReceived: 1, commandsAcknowledged: 1 });
  });

  test("connects a thousand devices at once", async () => {
    await using server = await startMosquitto();
    const many = { ...fleet, devices: 1000, rate: 2 };
    await using running = startFleet(many, { port: server.port });
    await expect.poll(() => running.snapshot().connected, soon).toBe(1000);
    const last = await running.stop();
    expect(last).toMatchObject({ inflight: 0, connectionsRefused: 0, acknowledged: last.sent });
  });
});

test("without a server a fleet tries on, says why, and ends when it is told to", async () => {
  const port = await freePort();
  const last = await runFleet(fleet, { port, signal: AbortSignal.timeout(300), drainMs: 100 });
  expect(last).toMatchObject({ connected: 0, sent: 0, acknowledged: 0 });
  expect(last.lastError).toContain("ECONNREFUSED");
});
