/**
 * Goal: what operators see of clients and listeners is what the clients did, whichever thread serves them, and a kick ends one.
 * Method: raw clients against a gateway with one and with two threads.
 */
import { encodeDisconnect, packetTypes, reasonCodes } from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";
import type { ClientSummary } from "../control.ts";

const soon = { timeout: 10_000 };
const topic = "plants/a/pumps/p1";
const ids = (clients: readonly ClientSummary[]): string[] => clients.map(({ clientId }) => clientId);

describe.each([1, 2])("with %i gateway thread(s)", (gateways) => {
  test("a client is shown with what it has sent, got and subscribed to", async () => {
    await using node = await startTestNode({ gateways, hasOwnPorts: false });
    await using client = await RawClient.connect(node.port, { clientId: "c", keepAliveSeconds: 30 });
    await client.subscribe("plants/#", 1);
    for (const packetId of [1, 2]) client.publish(topic, "x", { packetId });
    client.publish(topic, "y", { qos: 0 });
    await client.received(3);
    client.acknowledge(packetTypes.puback, 1);
    await expect.poll(async () => (await node.gateway.client("c")).inFlight, soon).toBe(1);
    const { connection, ...shown } = await node.gateway.client("c");
    expect(shown).toEqual({
      clientId: "c",
      state: "connected",
      session: "clean",
      sessionExpirySeconds: 0,
      subscriptions: 1,
      inFlight: 1,
      queued: 0,
      queuedBytes: 0,
      unacknowledged: 0,
      filters: [{ filter: "plants/#", qos: 1, noLocal: false, retainAsPublished: false }],
    });
    expect(connection).toMatchObject({
      listener: `tcp:${node.port}`,
      protocol: "5.0",
      keepAliveSeconds: 30,
      messagesIn: 3,
      messagesOut: 3,
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    });
    expect(connection?.bytesIn).toBeGreaterThan(60);
    expect(Math.abs((connection?.lastPacketAtMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(connection?.connectedAtMs).toBeLessThanOrEqual((connection?.lastPacketAtMs ?? 0) + 1);
  });

  test("pages hold every client once, in the order of the ids, and filters choose", async () => {
    await using node = await startTestNode({ gateways, hasOwnPorts: false });
    await using open = new AsyncDisposableStack();
    const names = ["z", "a", "\u0007bell", "m/1", "m/2", "..", "é", "-", "B"];
    for (const [index, clientId] of names.entries()) {
      open.use(await RawClient.connect(node.port, { clientId, version: index % 2 === 0 ? 5 : 4, clean: true }));
    }
    const seen: string[] = [];
    for (let after: string | undefined; ; after = seen.at(-1)) {
      const page = await node.gateway.clients({ limit: 2, ...(after !== undefined && { after }) });
      expect(page.length).toBeLessThanOrEqual(2);
      if (page.length === 0) break;
      seen.push(...ids(page));
    }
    expect(seen).toEqual([...names].sort());
    const list = async (query: object) => ids(await node.gateway.clients({ limit: 10, ...query }));
    expect(await list({ contains: "m/" })).toEqual(["m/1", "m/2"]);
    expect(await list({ protocol: "3.1.1" })).toEqual(names.filter((_, index) => index % 2 === 1).sort());
    expect(await list({ address: "10.0.0.1" })).toEqual([]);
    expect(await list({ state: "absent" })).toEqual([]);
    expect(await list({ listener: `tcp:${node.port}`, address: "127.0.0.1" })).toHaveLength(names.length);
  });

  test("a kicked client is told why, and its listener forgets it", async () => {
    await using node = await startTestNode({ gateways, hasOwnPorts: false });
    await using client = await RawClient.connect(node.port, { clientId: ".." });
    expect(await node.gateway.kickClient("..", { reason: "enough" })).toEqual({
      disconnected: true,
      sessionEnded: false,
    });
    await client.until(
      ({ type, reasonCode }) => type === packetTypes.disconnect && reasonCode === reasonCodes.administrativeAction,
    );
    await client.closed();
    await expect.poll(async () => ids(await node.gateway.clients({ limit: 10 })), soon).toEqual([]);
    await expect(node.gateway.kickClient("..", { reason: "again" })).rejects.toMatchObject({ code: "HR_NOT_FOUND" });
    await expect(node.gateway.client("..")).rejects.toMatchObject({ code: "HR_NOT_FOUND" });
  });

  test("a listener counts connections, refusals by reason, and messages and bytes also of those who have gone", async () => {
    await using node = await startTestNode({ gateways, hasOwnPorts: false });
    for (let round = 0; round < 3; round += 1) {
      await using client = await RawClient.connect(node.port, { clientId: `c${round}` });
      client.publish(topic, "x");
      client.publish("devices/d/commands/fan", "x", { packetId: 2 });
      await client.acknowledged(2);
    }
    const refused = await RawClient.begin(node.port, { clientId: "x".repeat(300) });
    await refused.closed();
    (await RawClient.open(node.port)).destroy();
    await expect
      .poll(async () => (await node.gateway.traffic())[0], soon)
      .toMatchObject({
        name: `tcp:${node.port}`,
        connections: 0,
        accepted: 5,
        refused: { "0x85": 1, unfinished: 1 },
        publishRefused: { "0x87": 3 },
        messagesIn: [0, 6, 0],
        messagesOut: [0, 0, 0],
      });
    const [listener] = await node.gateway.traffic();
    expect(listener?.bytesIn).toBeGreaterThan(3 * 60);
    expect(listener?.bytesOut).toBeGreaterThan(3 * 30);
  });
});

test("a session without a connection is absent, with what waits in it, until it is ended", async () => {
  await using node = await startTestNode();
  const properties = { sessionExpirySeconds: 600 };
  await using client = await RawClient.connect(node.port, { clientId: "s", clean: false, properties });
  await client.subscribe("plants/#", 1);
  client.send(encodeDisconnect(5));
  await client.closed();
  await using publisher = await RawClient.connect(node.port, { clientId: "p" });
  publisher.publish(topic, "waits");
  await publisher.acknowledged(1);
  expect(await node.gateway.clients({ limit: 10, state: "absent" })).toEqual([
    {
      clientId: "s",
      state: "absent",
      session: "lasting",
      sessionExpirySeconds: 600,
      expiresAtMs: expect.any(Number),
      subscriptions: 1,
      inFlight: 0,
      queued: 1,
      queuedBytes: expect.any(Number),
      unacknowledged: 0,
    },
  ]);
  expect(ids(await node.gateway.clients({ limit: 10 }))).toEqual(["p", "s"]);
  expect((await node.gateway.client("s")).filters).toMatchObject([{ filter: "plants/#", qos: 1 }]);
  await expect(node.gateway.kickClient("s", { reason: "x" })).rejects.toMatchObject({ code: "HR_NOT_FOUND" });
  expect(await node.gateway.kickClient("s", { reason: "x", endSession: true })).toEqual({
    disconnected: false,
    sessionEnded: true,
  });
  expect(ids(await node.gateway.clients({ limit: 10 }))).toEqual(["p"]);
});

test("a kick that ends the session too leaves nothing behind", async () => {
  await using node = await startTestNode();
  const properties = { sessionExpirySeconds: 600 };
  await using client = await RawClient.connect(node.port, { clientId: "s", clean: false, properties });
  await client.subscribe("plants/#", 1);
  expect(await node.gateway.kickClient("s", { reason: "x", endSession: true })).toEqual({
    disconnected: true,
    sessionEnded: true,
  });
  await client.closed();
  await using again = await RawClient.connect(node.port, { clientId: "s", clean: false, properties });
  expect(again.packets[0]).toMatchObject({ type: packetTypes.connack, sessionPresent: false });
});
