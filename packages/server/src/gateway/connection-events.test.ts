/**
 * Goal: the stream `connections` says who came and who went and why, costs no sync where others are stored anyway, and tells what it left out.
 * Method: raw clients against a gateway whose application has the built-in streams, with one and with two threads.
 */
import { encodeDisconnect, reasonCodes } from "@headrace/mqtt";
import { app } from "@headrace/sdk";
import { describe, expect, test } from "vitest";
import { startTestNode, streamOf, type TestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";

const soon = { timeout: 10_000 };
const topic = "plants/a/pumps/p1";
const streams = [streamOf("readings", "plants/:plant/pumps/:device"), ...app("factory").definition.streams];

const eventsOf = async (node: TestNode): Promise<Record<string, unknown>[]> =>
  (await node.events("connections")).map(({ key, client, payload }) => ({ key, client, ...JSON.parse(payload) }));

describe.each([1, 2])("with %i gateway thread(s)", (gateways) => {
  test("a client that comes and goes is two events, with who ended it and what it carried", async () => {
    await using node = await startTestNode({ gateways, streams });
    await using client = await RawClient.connect(node.port, { clientId: "c", keepAliveSeconds: 30, clean: true });
    client.publish(topic, "x");
    await client.acknowledged(1);
    client.send(encodeDisconnect(5));
    await client.closed();
    await expect.poll(async () => (await eventsOf(node)).length, soon).toBe(2);
    const about = {
      key: "c",
      client: "c",
      address: "127.0.0.1",
      // With several threads a test's connections are spread over ports of the threads' own.
      listener: gateways === 1 ? `tcp:${node.port}` : expect.stringMatching(/^tcp:\d+$/),
      protocol: "5.0",
      sessionExpirySeconds: 0,
    };
    expect(await eventsOf(node)).toEqual([
      { ...about, status: "connected", cleanStart: true, keepAliveSeconds: 30 },
      {
        ...about,
        status: "disconnected",
        endedBy: "client",
        reasonCode: 0,
        reason: "the client disconnected",
        durationMs: expect.any(Number),
        messagesIn: 1,
        messagesOut: 0,
        bytesIn: expect.any(Number),
        bytesOut: expect.any(Number),
      },
    ]);
  });
});

test("a broken connection, a kick and the stop of the node are told apart, the last ones before the node has stopped", async () => {
  await using node = await startTestNode({ streams });
  const broken = await RawClient.connect(node.port, { clientId: "broken" });
  broken.destroy();
  await using kicked = await RawClient.connect(node.port, { clientId: "kicked" });
  await node.gateway.kickClient("kicked", { reason: "enough" });
  await kicked.closed();
  await using last = await RawClient.connect(node.port, { clientId: "last", version: 4, clean: true });
  await expect.poll(async () => (await eventsOf(node)).length, soon).toBe(5);
  await node.gateway.close();
  await last.closed();
  const ends = (await eventsOf(node)).filter(({ status }) => status === "disconnected");
  expect(ends.map(({ client, endedBy, reasonCode, reason }) => [client, endedBy, reasonCode, reason])).toEqual([
    ["broken", "network", undefined, "the connection broke"],
    ["kicked", "node", reasonCodes.administrativeAction, "enough"],
    ["last", "node", reasonCodes.serverShuttingDown, "the node is stopping"],
  ]);
});

test("events go into groups that are stored anyway", async () => {
  await using node = await startTestNode({ streams });
  await using publisher = await RawClient.connect(node.port, { clientId: "p" });
  await expect.poll(async () => (await eventsOf(node)).length, soon).toBe(1);
  const before = node.log.metrics().syncs;
  await using _client = await RawClient.connect(node.port, { clientId: "c" });
  publisher.publish(topic, "x");
  await publisher.acknowledged(1);
  // Much less than an event waits for a group of its own would not be enough if it were not in this one.
  expect(await eventsOf(node)).toHaveLength(2);
  expect(node.log.metrics().syncs).toBe(before + 1);
});

test("a storm is counted instead of recorded, and the count is an event and a figure", async () => {
  await using node = await startTestNode({ streams, limits: { connectionEventsPerSecondMax: 2 } });
  const count = 20;
  for (let index = 0; index < count; index += 1) {
    await using _client = await RawClient.connect(node.port, { clientId: `c${index}` });
  }
  const told = async (): Promise<number> =>
    (await eventsOf(node)).reduce(
      (sum, { status, count: dropped }) => sum + (status === "dropped" ? Number(dropped) : 1),
      0,
    );
  await expect.poll(told, soon).toBe(2 * count);
  const { eventsDropped } = node.gateway.stats();
  expect(eventsDropped).toBeGreaterThan(0);
  expect((await eventsOf(node)).filter(({ status }) => status !== "dropped").length + eventsDropped).toBe(2 * count);
});

test("S5: events that found no room on the disk are counted when there is room again", async () => {
  await using node = await startTestNode({ streams });
  await using _kept = await RawClient.connect(node.port, { clientId: "kept" });
  await expect.poll(async () => (await eventsOf(node)).length, soon).toBe(1);
  node.fillDisk(true);
  await using _lost = await RawClient.connect(node.port, { clientId: "lost" });
  await expect.poll(() => node.gateway.stats().eventsDropped, soon).toBe(1);
  node.fillDisk(false);
  await expect.poll(async () => (await eventsOf(node)).at(-1), soon).toMatchObject({ status: "dropped", count: 1 });
  expect(node.gateway.stats().eventsDropped).toBe(1);
});
