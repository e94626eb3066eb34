// Goal: subscriptions cannot make the matching of others' messages expensive (M12). Method: raw sockets; what a match may cost is read off.
import { encodeSubscribe, packetTypes, reasonCodes } from "@headrace/mqtt";
import { expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";
import { FanOutMessage } from "./fan-out-message.ts";
import type { Delivery, Receiver } from "./receiver.ts";
import { ShareGroup } from "./share-group.ts";

const subscribeTo = async (client: RawClient, filters: readonly string[]): Promise<readonly number[]> => {
  client.packets.length = 0;
  client.send(
    encodeSubscribe({ version: 5, packetId: 1, filters: filters.map((filter) => ({ filter, qos: 0 as const })) }),
  );
  return (await client.until(({ type }) => type === packetTypes.suback, 10_000)).codes ?? [];
};

/** Filters of `levels` levels with + where `bits` has a one. */
const overlap = (bits: number, levels: number): string =>
  Array.from({ length: levels }, (_, place) => ((bits >> place) & 1 ? "+" : "a")).join("/");

test("M12: overlapping wildcards are refused with 0x97 for one session, and for all together; others go on", async () => {
  await using node = await startTestNode({ limits: { matchCostMax: 160 } });
  await using witness = await RawClient.connect(node.port, { clientId: "witness" });
  expect(await subscribeTo(witness, ["raw/+"])).toEqual([0]);
  await using first = await RawClient.connect(node.port, { clientId: "first" });
  const some = Array.from({ length: 900 }, (_, bits) => overlap(bits + 1, 12));
  const codes = await subscribeTo(first, some);
  expect(codes.filter((code) => code === 0).length).toBeLessThanOrEqual(128 / 12);
  expect(codes.filter((code) => code === reasonCodes.quotaExceeded).length).toBeGreaterThan(800);
  await using second = await RawClient.connect(node.port, { clientId: "second" });
  const others = Array.from({ length: 900 }, (_, bits) => overlap((bits << 3) + 5, 20));
  expect((await subscribeTo(second, others)).filter((code) => code === 0).length).toBeLessThan(7);
  // What costs nothing more is granted all the same, and messages go their way.
  await using third = await RawClient.connect(node.port, { clientId: "third" });
  expect(await subscribeTo(third, ["raw/+", "raw/x", "other/+"])).toEqual([0, 0, 0]);
  third.publish("raw/x", "1");
  await witness.until(({ payload }) => payload === "1");
  expect(node.gateway.stats().matchCost).toBeLessThanOrEqual(160);
  expect(node.gateway.stats().reasons["0x97"]).toBeGreaterThan(1_600);
});

test("M12: a hundred thousand filters are bounded: a packet, a session, all sessions", async () => {
  await using node = await startTestNode({ limits: { subscriptionsMax: 1_000, subscriptionsTotalMax: 2_500 } });
  const filters = (from: number, count: number): string[] =>
    Array.from({ length: count }, (_, index) => `f/${from + index}`);
  await using much = await RawClient.connect(node.port, { clientId: "much" });
  much.send(
    encodeSubscribe({ version: 5, packetId: 1, filters: filters(0, 20_000).map((filter) => ({ filter, qos: 0 })) }),
  );
  expect(await much.until(({ type }) => type === packetTypes.disconnect)).toMatchObject({ reasonCode: 0x97 });
  await using stack = new AsyncDisposableStack();
  const granted: number[] = [];
  for (let index = 0; index < 3; index++) {
    const client = stack.use(await RawClient.connect(node.port, { clientId: `c-${index}` }));
    const codes = await subscribeTo(client, filters(index * 1_000, 1_000));
    granted.push(codes.filter((code) => code === 0).length);
    expect(await subscribeTo(client, ["one/more"])).toEqual([index < 2 ? reasonCodes.quotaExceeded : 0x97]);
  }
  expect(granted).toEqual([1_000, 1_000, 500]);
  const deep = await RawClient.connect(node.port, { clientId: "deep" });
  deep.send(encodeSubscribe({ version: 5, packetId: 1, filters: [{ filter: "a/".repeat(127), qos: 0 }] }));
  expect(await deep.until(({ type }) => type === packetTypes.disconnect)).toMatchObject({ reasonCode: 0x8f });
  await deep.closed();
});

test("M12: members of a shared subscription come and go without anybody looking at the others", () => {
  const got: string[] = [];
  const group = new ShareGroup((_message, { receiver }) => {
    got.push(receiver.clientId);
    return true;
  });
  const member = (clientId: string): Receiver => ({ clientId, deviceId: clientId, receive: () => true });
  const delivery = (receiver: Receiver): Delivery => ({
    receiver,
    qos: 1,
    retainAsPublished: false,
    noLocal: false,
    identifiers: [],
    filters: [],
  });
  const members = Array.from({ length: 20_000 }, (_, index) => member(String(index)));
  for (const one of members) group.set(one, delivery(one));
  // With a look at each of them this would be four hundred million steps.
  for (let round = 0; round < 20_000; round++) {
    const one = members[round] as Receiver;
    group.delete(one);
    group.set(one, delivery(one));
  }
  for (const one of members.slice(3)) group.delete(one);
  expect(group.size).toBe(3);
  const message = new FanOutMessage({
    topic: "t",
    payload: new Uint8Array(0),
    qos: 0,
    retain: false,
    properties: {},
    publisher: undefined,
  });
  for (let round = 0; round < 6; round++) group.receive(message);
  expect(got.slice(0, 3).sort()).toEqual(["0", "1", "2"]);
  expect(got.slice(3)).toEqual(got.slice(0, 3));
});
