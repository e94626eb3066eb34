// Goal: who sends too much or reads too little is slowed down within bounds, and nobody else notices (P7, A12). Method: raw sockets
// against a gateway whose log can be stopped.
import { encodePublish, packetTypes, utf8 } from "@headrace/mqtt";
import { expect, test } from "vitest";
import { startTestNode, type TestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const kib = 1_024;

/** Nothing gets durable until the returned function is called. */
const stopLog = ({ log }: TestNode): (() => void) => {
  const source = log.requestFlush.bind(log);
  log.requestFlush = () => undefined;
  return () => {
    log.requestFlush = source;
    source(0);
  };
};

/** Publishes and takes the acknowledgement, as somebody whom the trouble of others does not concern. */
const publishesAtOnce = async (client: RawClient, packetId: number): Promise<void> => {
  client.publish("raw/witness", "x", { packetId });
  await client.acknowledged(packetId);
};

test("A12: what is in flight to a client is bounded in bytes, and all of it arrives once it is acknowledged", async () => {
  await using node = await startTestNode({ limits: { inFlightToClientBytesMax: 64 * kib } });
  await using slow = await RawClient.connect(node.port, { clientId: "slow" });
  await slow.subscribe("raw/x");
  await using client = await RawClient.connect(node.port, { clientId: "c" });
  const count = 40;
  for (let packetId = 1; packetId <= count; packetId++) client.publish("raw/x", "x".repeat(8 * kib), { packetId });
  await client.acknowledged(count);
  await slow.received(8);
  await pause(200);
  // The last one may reach over the bound.
  expect(slow.messages.length).toBeLessThanOrEqual(9);
  for (let at = 0; at < count; at++) {
    await slow.received(at + 1);
    slow.acknowledge(packetTypes.puback, slow.messages[at]?.packetId ?? 0);
  }
  expect(slow.messages).toHaveLength(count);
  await expect.poll(() => node.gateway.stats().outgoingBytes).toBe(0);
});

test.each([1, 0] as const)("P7: one client's share of what is not durable is bounded (QoS %i)", async (qos) => {
  await using node = await startTestNode({ limits: { inFlightFromClientBytesMax: 256 * kib } });
  await using greedy = await RawClient.connect(node.port, { clientId: "greedy" });
  const letGo = stopLog(node);
  const count = 500;
  for (let at = 1; at <= count; at++) {
    greedy.publish("raw/x", String(at).padEnd(8 * kib), { qos, packetId: qos === 0 ? 0 : at });
  }
  await expect.poll(() => node.gateway.stats().waitingBytes).toBeGreaterThan(256 * kib);
  await pause(200);
  // What was read in the same turn, and the packet that reached over the bound, come on top.
  expect(node.gateway.stats().waitingBytes).toBeLessThan(512 * kib);
  letGo();
  if (qos === 1) await greedy.acknowledged(count);
  await expect.poll(() => node.gateway.stats().byStream.raw).toBe(count);
  expect((await node.events("raw")).map(({ payload }) => Number(payload))).toEqual(
    Array.from({ length: count }, (_, index) => index + 1),
  );
});

test("P7: a 3.1.1 client, which knows no Receive Maximum, is not read while it has used it up", async () => {
  await using node = await startTestNode({ limits: { receiveMaximum: 10 } });
  await using old = await RawClient.connect(node.port, { clientId: "old", version: 4 });
  const letGo = stopLog(node);
  // Longer than one read of a socket.
  const count = 3_000;
  for (let packetId = 1; packetId <= count; packetId++) old.publish("raw/x", "x".repeat(500), { packetId });
  await pause(300);
  expect(node.gateway.stats().waitingBytes).toBeLessThan(500 * kib);
  letGo();
  await old.acknowledged(count);
  expect(await node.events("raw")).toHaveLength(count);
});

test("P7: above its bytes a second a client is slowed down, loses nothing, and others are not slowed down", async () => {
  await using node = await startTestNode({ limits: { clientBytesPerSecondMax: 512 * kib } });
  await using fast = await RawClient.connect(node.port, { clientId: "fast" });
  await using other = await RawClient.connect(node.port, { clientId: "other" });
  const startMs = performance.now();
  for (let packetId = 1; packetId <= 128; packetId++) fast.publish("raw/x", "x".repeat(8 * kib), { packetId });
  await publishesAtOnce(other, 1);
  expect(fast.packets.some(({ packetId }) => packetId === 128)).toBe(false);
  await fast.until(({ packetId }) => packetId === 128, 10_000);
  // A mebibyte: the first half may come at once.
  expect(performance.now() - startMs).toBeGreaterThan(800);
});

test("M8: answers that wait for their group are bounded: repeats of one QoS 2 message without end are not read", async () => {
  await using node = await startTestNode();
  await using rude = await RawClient.connect(node.port, { clientId: "rude" });
  await using witness = await RawClient.connect(node.port, { clientId: "witness" });
  const again = encodePublish({
    version: 5,
    topic: utf8("raw/x"),
    payload: utf8("x".repeat(300)),
    qos: 2,
    packetId: 7,
  });
  const many = Buffer.concat(Array.from({ length: 40_000 }, () => again));
  const letGo = stopLog(node);
  rude.send(many);
  await pause(300);
  const unread = rude.unsentBytes;
  letGo();
  expect(unread).toBeGreaterThan(0);
  await publishesAtOnce(witness, 1);
  await expect
    .poll(() => rude.packets.filter(({ packetId }) => packetId === 7).length, { timeout: 10_000 })
    .toBe(40_000);
  expect((await node.events("raw")).filter(({ client }) => client === "rude")).toHaveLength(1);
});

test("M18: clients that read nothing cost a bounded buffer altogether, and harm nobody", async () => {
  const limits = { subscriberBytesMax: 1_024 * kib, outgoingBytesMax: 2_048 * kib, stalledMaxMs: 500 };
  await using node = await startTestNode({ limits });
  const deaf: RawClient[] = [];
  for (let index = 0; index < 10; index++) {
    const client = await RawClient.connect(node.port, { clientId: `deaf-${index}` });
    await client.subscribe("raw/flood", index % 2 === 0 ? 0 : 1);
    client.pause();
    deaf.push(client);
  }
  await using witness = await RawClient.connect(node.port, { clientId: "witness" });
  await using client = await RawClient.connect(node.port, { clientId: "c" });
  const before = process.memoryUsage().rss;
  for (let round = 0; round < 8; round++) {
    client.packets.length = 0;
    for (let packetId = 1; packetId <= 250; packetId++) client.publish("raw/flood", "x".repeat(8 * kib), { packetId });
    await client.acknowledged(250);
    await publishesAtOnce(witness, round + 1);
  }
  // 16 MiB for each of ten clients went by; all together hold the bound and three floors each.
  expect(node.gateway.stats().outgoingBytes).toBeLessThan(2_048 * kib + 10 * 3 * 2 * 64 * kib);
  expect(node.gateway.stats().dropped).toBeGreaterThan(0);
  expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1_024 * kib);
  for (const one of deaf) one.destroy();
  await expect.poll(() => node.gateway.stats().outgoingBytes).toBe(0);
});

test("M18: a client that asks and never takes the answers is ended after a while, and counted", async () => {
  await using node = await startTestNode({ limits: { subscriberBytesMax: 64 * kib, stalledMaxMs: 500 } });
  await using deaf = await RawClient.connect(node.port, { clientId: "deaf" });
  deaf.pause();
  const pings = Buffer.alloc(2 * kib * kib, Uint8Array.of(packetTypes.pingreq << 4, 0));
  const timer = setInterval(() => deaf.send(pings), 20);
  await expect.poll(() => node.gateway.stats().connections, { timeout: 10_000 }).toBe(0);
  clearInterval(timer);
  expect(node.gateway.stats().reasons).toMatchObject({ "answers-untaken": 1 });
});
