// Goal: retained messages are bounded, for all and for each client, and reach a subscriber as fast as it takes them, with nobody
// waiting (M13). Method: raw sockets; a bound of a few thousand stands for any other.
import { encodePublish, packetTypes, reasonCodes, utf8 } from "@headrace/mqtt";
import { expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";

/** Publishes retained messages to many topics in one write; the codes of their PUBACKs. */
const retainMany = async (client: RawClient, prefix: string, count: number, payload = "x"): Promise<number[]> => {
  client.packets.length = 0;
  const packets = Array.from({ length: count }, (_, index) =>
    encodePublish({
      version: 5,
      topic: utf8(`${prefix}/${index}`),
      payload: utf8(payload),
      qos: 1,
      packetId: index + 1,
      retain: true,
    }),
  );
  client.send(Buffer.concat(packets));
  await client.until(({ packetId }) => packetId === count, 20_000);
  return client.packets.filter(({ type }) => type === packetTypes.puback).map(({ reasonCode }) => reasonCode ?? -1);
};
const refused = (codes: readonly number[]): number => codes.filter((code) => code === reasonCodes.quotaExceeded).length;

test("M13: a flood of retained topics stops exactly at the bound, even within one group; what is there may change and go", async () => {
  await using node = await startTestNode({ limits: { retainedMessagesMax: 300, receiveMaximum: 5_000 } });
  await using client = await RawClient.connect(node.port, { clientId: "c" });
  expect(refused(await retainMany(client, "state", 3_000))).toBe(2_700);
  expect(node.gateway.stats()).toMatchObject({ retainedMessages: 300, reasons: { "0x97": 2_700 } });
  expect(refused(await retainMany(client, "state", 300, "again"))).toBe(0);
  client.publish("state/0", "", { packetId: 1, retain: true });
  await client.acknowledged(1);
  await expect.poll(() => node.gateway.stats().retainedMessages).toBe(299);
  expect(refused(await retainMany(client, "other", 2))).toBe(1);
});

test("M13: one client has a bound of its own, in number and bytes, also after a restart", async () => {
  const limits = { retainedPerClientMax: 10, retainedBytesPerClientMax: 5_000 };
  await using node = await startTestNode({ limits });
  await using greedy = await RawClient.connect(node.port, { clientId: "greedy" });
  await using other = await RawClient.connect(node.port, { clientId: "other" });
  expect(refused(await retainMany(greedy, "g", 30))).toBe(20);
  expect(refused(await retainMany(other, "o", 10, "x".repeat(900)))).toBe(5);
  expect(node.gateway.stats().retainedMessages).toBe(15);
  // Another client may take a topic over; it counts for that one then.
  expect(refused(await retainMany(other, "g", 1))).toBe(0);
  expect(refused(await retainMany(greedy, "more", 2))).toBe(1);
  await node.stop();
  await using again = await startTestNode({ limits, folder: node.folder });
  await using back = await RawClient.connect(again.port, { clientId: "greedy" });
  expect(again.gateway.stats().retainedMessages).toBe(16);
  expect(refused(await retainMany(back, "late", 1))).toBe(1);
});

test("what was not stored does not count against the bound", async () => {
  await using node = await startTestNode({ limits: { retainedMessagesMax: 2 } });
  {
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    node.fillDisk(true);
    for (let packetId = 1; packetId <= 2; packetId++) client.publish(`a/${packetId}`, "x", { packetId, retain: true });
    await client.closed();
  }
  node.fillDisk(false);
  await using client = await RawClient.connect(node.port, { clientId: "c" });
  expect(refused(await retainMany(client, "b", 2))).toBe(0);
});

test.each([
  [0, false],
  [1, false],
  [1, true],
] as const)(
  "M13: a subscriber to # gets all retained messages as it takes them, at QoS %i, lasting session: %s; others do not wait",
  async (qos, isLasting) => {
    await using node = await startTestNode({ limits: { sessionQueueMessagesMax: 200, receiveMaximum: 5_000 } });
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    const count = 2_000;
    expect(refused(await retainMany(client, "state", count, "x".repeat(500)))).toBe(0);
    await using subscriber = await RawClient.connect(node.port, {
      clientId: "s",
      properties: { receiveMaximum: 50, ...(isLasting && { sessionExpirySeconds: 60 }) },
    });
    await subscriber.subscribe("state/#", qos);
    client.publish("state/new", "live", { packetId: 1 });
    await client.acknowledged(1);
    const seen = new Set<string>();
    while (seen.size < count) {
      await subscriber.until(({ type }) => type === packetTypes.publish, 15_000);
      for (const { type, topic = "", packetId = 0, payload, retain } of subscriber.packets.splice(0)) {
        if (type !== packetTypes.publish) continue;
        if (packetId > 0) subscriber.acknowledge(packetTypes.puback, packetId);
        if (payload === "live") continue;
        expect([retain, seen.has(topic)]).toEqual([true, false]);
        seen.add(topic);
      }
    }
    expect(node.gateway.stats().dropped).toBe(0);
  },
);
