/**
 * Goal: with two gateway threads on one port a device notices nothing: whichever takes its connection, messages are stored,
 * handled and passed on, commands arrive, repeats are recognised, and kill -9 loses nothing that was acknowledged.
 * Method: many clients, so that each thread has some, against one node with `--gateways 2`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { defineFleet, startFleet } from "@headrace/simulator";
import mqtt from "mqtt";
import { expect, test } from "vitest";
import { type Counted, countingViolationsOf, type MessageId, violationsOf } from "./checker.ts";
import type { Load } from "./fixtures/counting.ts";
import type { Ask } from "./fixtures/switches.ts";
import { appFile, NodeProcess, soon, stablePort, storedIn, temporaryFolder } from "./node-process.ts";

const args = ["--gateways", "2"];

const connect = (port: number, clientId: string): Promise<mqtt.MqttClient> =>
  mqtt.connectAsync({ host: "127.0.0.1", port, clientId, protocolVersion: 5, reconnectPeriod: 0 });

test("messages reach subscribers on every thread, and commands their device", async () => {
  using folder = temporaryFolder();
  await using node = await NodeProcess.start({ app: appFile("switches"), data: folder.path, args });
  const clients = await Promise.all(
    Array.from({ length: 12 }, (_, index) => connect(node.mqttPort, `client-${index}`)),
  );
  await expect.poll(async () => (await node.status()).connections, soon).toBe(clients.length);

  const received = clients.map((): string[] => []);
  for (const [index, client] of clients.entries()) {
    client.on("message", (topic, payload) => {
      if (topic.startsWith("talk/")) received[index]!.push(`${topic} ${payload}`);
    });
    await client.subscribeAsync("talk/#", { qos: 1 });
  }
  await Promise.all(clients.map((client, index) => client.publishAsync(`talk/${index}`, "hello", { qos: 1 })));
  const everything = clients.map((_, index) => `talk/${index} hello`).sort();
  for (const texts of received) await expect.poll(() => [...texts].sort(), soon).toEqual(everything);

  // A retained message meets whoever subscribes later, also on the other thread.
  await clients[0]!.publishAsync("still/here", "kept", { qos: 1, retain: true });
  for (const client of clients) {
    const kept = new Promise((resolve) =>
      client.on("message", (topic, payload) => topic === "still/here" && resolve(`${payload}`)),
    );
    await client.subscribeAsync("still/#", { qos: 1 });
    expect(await kept).toBe("kept");
  }

  // Each client is a device that takes commands.
  for (const [index, client] of clients.entries()) {
    const device = `client-${index}`;
    client.on("message", (topic, payload) => {
      if (!topic.startsWith(`devices/${device}/commands/`)) return;
      const { id } = JSON.parse(payload.toString()) as { id: string };
      client.publish(`devices/${device}/commands/${id}/ack`, '{"ok":true}', { qos: 1 });
    });
    await client.subscribeAsync(`devices/${device}/commands/+`, { qos: 1 });
    await client.publishAsync(`asks/${device}`, JSON.stringify({ within: "30s" } satisfies Ask), { qos: 1 });
  }
  await expect.poll(async () => (await node.status()).commands, soon).toMatchObject({ pending: 0, acknowledged: 12 });

  await expect(clients[0]!.publishAsync("devices/x/commands/fan", "{}", { qos: 1 })).rejects.toMatchObject({
    code: 0x87,
  });
  for (const client of clients) await client.endAsync();
  await expect.poll(async () => (await node.status()).connections, soon).toBe(0);
  expect(await node.end("SIGINT"), node.stderr).toMatchObject({ code: 0 });
});

test("kill -9 loses and doubles nothing", { timeout: 180_000 }, async () => {
  using folder = temporaryFolder();
  const mqttPort = await stablePort();
  const options = { app: appFile("counting"), data: folder.path, mqttPort, args };
  const sent: MessageId[] = [];
  const acknowledged: MessageId[] = [];
  const fleet = defineFleet({
    devices: 20,
    rate: 40,
    topic: ({ id }) => `load/${id}`,
    payload: (_device, index): Load => ({ epoch: 1, n: index + 1 }),
  });
  await using running = startFleet(fleet, {
    port: mqttPort,
    epoch: 1,
    drainMs: 30_000,
    onSent: (device, epoch, sequence) => sent.push({ device, epoch, sequence }),
    onAcknowledged: (device, epoch, sequence) => acknowledged.push({ device, epoch, sequence }),
  });
  for (let kill = 1; kill <= 3; kill++) {
    await using node = await NodeProcess.start(options);
    const before = acknowledged.length;
    await expect.poll(() => acknowledged.length, soon).toBeGreaterThan(before + 50);
    await sleep(Math.random() * 700);
    await node.end("SIGKILL");
  }
  await using node = await NodeProcess.start(options);
  expect(await running.stop()).toMatchObject({ inflight: 0, refused: 0 });
  const status = await node.drained();

  // What the status calls stored holds repeats too: two threads find them only behind the log, where they are marked.
  const events = await node.events<Load>("load", sent.length);
  const stored = events.map(({ device, value: { epoch, n } }) => ({ device, epoch, sequence: n }));
  expect(violationsOf({ sent, acknowledged, stored: inOrderOfSequence(stored) }, "exactlyOnce")).toEqual([]);
  const answers = await node.events<{ epoch: number; n: number; count: number }>(
    "counted",
    storedIn(status, "counted"),
  );
  const counted = answers.map(({ device, value }): Counted => ({ device, ...value, sequence: value.n }));
  expect(countingViolationsOf(stored, counted)).toEqual([]);
  // The function met the messages of each device in the order in which it sent them.
  expect(violationsOf({ sent, acknowledged, stored: counted }, "exactlyOnce")).toEqual([]);
  const count = "SELECT count(*), count(DISTINCT (partition, writer, sequence)) FROM load";
  expect(await node.query(count)).toEqual([[stored.length, stored.length]]);
});

/** Each thread is a writer of its own, and a tail gives one writer after the other; the function's answers show the order. */
const inOrderOfSequence = (ids: readonly MessageId[]): MessageId[] => [...ids].sort((a, b) => a.sequence - b.sequence);
