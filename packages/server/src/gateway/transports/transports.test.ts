/** Goal: whatever carries it, MQTT arrives, its client is known, and nobody holds a connection by dawdling. Method: real sockets and clients that are not ours. */
import { encodeConnect, packetTypes } from "@headrace/mqtt";
import { expect, test } from "vitest";
import { startTestNode } from "../../../test/gateway-node.ts";
import { RawClient } from "../../../test/raw-client.ts";
import type { Credentials } from "../policy.ts";

test("a CONNECT that comes byte by byte does not push its deadline away (M16)", async () => {
  await using node = await startTestNode({ limits: { connectDeadlineMs: 500 } });
  await using slow = await RawClient.open(node.port);
  const bytes = encodeConnect({ version: 5, clientId: "slow".repeat(20) });
  let sent = 0;
  const timer = setInterval(() => slow.send(bytes.subarray(sent, ++sent)), 100);
  // The deadline is looked at once a second; byte by byte the packet would take ten.
  await slow.closed(8_000).finally(() => clearInterval(timer));
  expect(sent).toBeLessThan(bytes.length);
});

test("whoever authenticates knows the client's address and how it came", async () => {
  const asked: Credentials[] = [];
  await using node = await startTestNode({
    authenticate: (credentials) => {
      asked.push(credentials);
      return { identity: undefined };
    },
  });
  await using _client = await RawClient.connect(node.port, { clientId: "c" });
  expect(asked).toMatchObject([{ clientId: "c", peer: { transport: "tcp", address: "127.0.0.1" } }]);
  expect(node.gateway.stats().listeners).toEqual([
    { transport: "tcp", host: "127.0.0.1", port: node.port, connections: 1, turnedAway: 0, failed: 0 },
  ]);
});

test("the bound of connections holds over all listeners together", async () => {
  const listener = { transport: "tcp", host: "127.0.0.1", port: 0 } as const;
  await using node = await startTestNode({ listeners: [listener, listener], limits: { connectionsMax: 2 } });
  const [first, second] = node.gateway.listeners.map(({ port }) => port) as [number, number];
  await using _one = await RawClient.connect(first, { clientId: "one" });
  await using _two = await RawClient.connect(second, { clientId: "two" });
  await using three = await RawClient.begin(second, { clientId: "three" });
  expect(await three.until(({ type }) => type === packetTypes.connack)).toMatchObject({ reasonCode: 0x97 });
  await three.closed();
  await expect
    .poll(() => node.gateway.stats())
    .toMatchObject({
      connections: 2,
      listeners: [{ turnedAway: 0 }, { turnedAway: 1 }],
    });
});
