// Goal: who is one too many is told so while that is cheap, and costs nothing beyond (P7); who comes over and over is held off. Method:
// raw sockets against one gateway thread and two.
import { packetTypes, reasonCodes } from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";
import { connectionCounts, Door } from "./door.ts";
import { Flapping } from "./flapping.ts";

const connack = async (client: RawClient): Promise<number | undefined> =>
  (await client.until(({ type }) => type === packetTypes.connack)).reasonCode;

const limits = { connectionsMax: 10_000, unauthenticatedPerAddressMax: 1_000, connectsPerSecondMax: 2_000 };

test.each([1, 2])(
  "P7: above the limit of connections CONNACK says 0x97, in 3.1.1 3; with %i gateway thread(s)",
  async (gateways) => {
    await using node = await startTestNode({ gateways, limits: { connectionsMax: 6 } });
    await using stack = new AsyncDisposableStack();
    for (let index = 0; index < 6; index++) {
      stack.use(await RawClient.connect(node.port, { clientId: `c-${index}` }));
    }
    for (const version of [5, 4] as const) {
      await using late = await RawClient.begin(node.port, { clientId: "late", version });
      expect(await connack(late)).toBe(version === 5 ? reasonCodes.quotaExceeded : 3);
      await late.closed();
    }
    await expect.poll(() => node.gateway.stats().reasons["0x97"]).toBe(2);
    await stack.disposeAsync();
    await expect.poll(() => node.gateway.stats().connections).toBe(0);
    await using again = await RawClient.begin(node.port, { clientId: "again" });
    expect(await connack(again)).toBe(0);
  },
  60_000,
);

test("P7: far above the limit sockets are closed without a word, and those that are told have not long to ask", async () => {
  await using node = await startTestNode({ limits: { connectionsMax: 1, connectDeadlineMs: 500 } });
  await using witness = await RawClient.connect(node.port, { clientId: "witness" });
  const many = await Promise.all(Array.from({ length: 100 }, () => RawClient.open(node.port)));
  await expect.poll(() => many.filter(({ isClosed }) => isClosed).length).toBeGreaterThanOrEqual(36);
  await Promise.all(many.map((client) => client.closed(5_000)));
  expect(node.gateway.stats().reasons.connections).toBeGreaterThanOrEqual(36);
  witness.publish("raw/x", "x");
  await witness.acknowledged(1);
});

test("M15, M16: connections of one address that have not shown who they are, are bounded; who has, does not count", async () => {
  await using node = await startTestNode({ limits: { unauthenticatedPerAddressMax: 3 } });
  await using stack = new AsyncDisposableStack();
  for (let index = 0; index < 5; index++) stack.use(await RawClient.connect(node.port, { clientId: `c-${index}` }));
  const silent = [];
  for (let index = 0; index < 3; index++) silent.push(stack.use(await RawClient.open(node.port)));
  await using fourth = await RawClient.open(node.port);
  await fourth.closed();
  expect(node.gateway.stats().reasons).toMatchObject({ address: 1 });
  silent[0]?.destroy();
  await expect.poll(() => node.gateway.stats().connections).toBe(7);
  await using client = await RawClient.connect(node.port, { clientId: "again" });
  expect(client.isClosed).toBe(false);
});

test("M17: CONNECTs above the rate wait for their turn, and are refused with 0x9F when it is too far away", async () => {
  await using node = await startTestNode({ limits: { connectsPerSecondMax: 4 } });
  const startMs = performance.now();
  await using stack = new AsyncDisposableStack();
  // Four at once, eight in the two seconds for which one waits, the others are refused.
  const clients = await Promise.all(
    Array.from({ length: 20 }, (_, index) => RawClient.begin(node.port, { clientId: `c-${index}` })),
  );
  for (const client of clients) stack.use(client);
  const codes = await Promise.all(clients.map(connack));
  expect(performance.now() - startMs).toBeGreaterThan(1_500);
  const taken = codes.filter((code) => code === 0).length;
  expect(taken).toBeGreaterThanOrEqual(12);
  expect(taken).toBeLessThan(20);
  expect(codes.filter((code) => code === reasonCodes.connectionRateExceeded)).toHaveLength(20 - taken);
  expect(node.gateway.stats().reasons).toMatchObject({ "0x9f": 20 - taken });
});

test("M17: two clients that take one id from each other are held off; the one that is in stays in", async () => {
  await using node = await startTestNode({ limits: { flappingConnectsMax: 6, flappingHoldOffMs: 1_000 } });
  await using stack = new AsyncDisposableStack();
  for (let round = 0; round < 6; round++) stack.use(await RawClient.connect(node.port, { clientId: "same" }));
  for (const version of [5, 4] as const) {
    await using late = await RawClient.begin(node.port, { clientId: "same", version });
    expect(await connack(late)).toBe(version === 5 ? reasonCodes.connectionRateExceeded : 3);
  }
  await expect.poll(() => node.gateway.stats().connections).toBe(1);
  await using other = await RawClient.connect(node.port, { clientId: "other" });
  expect(other.isClosed).toBe(false);
  const taken = async (): Promise<number | undefined> => {
    await using late = await RawClient.begin(node.port, { clientId: "same" });
    return await connack(late);
  };
  await expect.poll(taken, { timeout: 15_000, interval: 200 }).toBe(0);
});

test("M17: credentials that are refused hold nobody off", async () => {
  const authenticate = ({ username }: { username?: string | undefined }) =>
    username === "good" ? { identity: "good" } : { reasonCode: reasonCodes.badUserNameOrPassword, reason: "unknown" };
  await using node = await startTestNode({ authenticate, limits: { flappingConnectsMax: 2 } });
  for (let round = 0; round < 5; round++) {
    await using bad = await RawClient.begin(node.port, { clientId: "same", username: "bad" });
    expect(await connack(bad)).toBe(reasonCodes.badUserNameOrPassword);
  }
  await using good = await RawClient.begin(node.port, { clientId: "same", username: "good" });
  expect(await connack(good)).toBe(0);
});

test("P7: while there is no room for messages, clients are told to expect less, and after a while not to come", async () => {
  await using node = await startTestNode({ limits: { waitingBytesMax: 10_000, overloadedAfterMs: 500 } });
  await using client = await RawClient.connect(node.port, { clientId: "c" });
  expect(client.packets[0]?.properties).toMatchObject({ receiveMaximum: 1_000 });
  const source = node.log.requestFlush.bind(node.log);
  node.log.requestFlush = () => undefined;
  client.publish("raw/x", "x".repeat(20_000), { packetId: 1 });
  await expect.poll(() => node.gateway.stats().waitingBytes).toBeGreaterThan(10_000);
  await using early = await RawClient.connect(node.port, { clientId: "early" });
  expect(early.packets[0]?.properties).toMatchObject({ receiveMaximum: 125 });
  client.publish("raw/x", "x", { packetId: 2 });
  const late = async (): Promise<number | undefined> => {
    await using one = await RawClient.begin(node.port, { clientId: "late" });
    return await connack(one);
  };
  await expect.poll(late, { timeout: 15_000, interval: 200 }).toBe(reasonCodes.serverBusy);
  node.log.requestFlush = source;
  source(0);
  expect(await client.acknowledged(2)).toMatchObject({ reasonCode: 0 });
  expect(await late()).toBe(0);
}, 60_000);

describe("Door", () => {
  const door = (rest: Partial<typeof limits> = {}, nowMs = () => 0): Door =>
    new Door({
      limits: { ...limits, ...rest },
      connections: { counts: connectionCounts(1), thread: 0 },
      reasons: {},
      nowMs,
    });

  test("addresses of version 6 count by their first half, however they are written; of version 4 each counts", () => {
    const one = door({ unauthenticatedPerAddressMax: 1 });
    expect(one.open("2001:db8:0:1::5")).toBeDefined();
    expect(one.open("2001:db8:0:1:ffff::6")).toBeUndefined();
    expect(one.open("2001:db8:0:2::5")).toBeDefined();
    expect([one.open("::ffff:10.0.0.1"), one.open("10.0.0.1")]).toEqual([expect.anything(), undefined]);
    expect(one.open("10.0.0.2")).toBeDefined();
  });

  test("a visit that ends twice, or after it was authenticated, counts once", () => {
    const one = door({ unauthenticatedPerAddressMax: 1, connectionsMax: 1 });
    const visit = one.open("a");
    visit?.authenticated();
    expect(one.open("a")?.isOver).toBe(true);
    visit?.end();
    visit?.end();
    expect(one.open("b")?.isOver).toBe(true);
  });

  test("turns are saved up for a second at most", () => {
    let nowMs = 100_000;
    const one = door({ connectsPerSecondMax: 10 }, () => nowMs);
    const waits = () => Array.from({ length: 12 }, () => one.turn());
    expect(waits().map((ms) => Math.round(ms ?? -1))).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100]);
    nowMs += 60_000;
    expect(waits().filter((ms) => ms === 0)).toHaveLength(11);
  });
});

describe("Flapping", () => {
  test("M17: the table is bounded, whoever comes; the hold-off ends and the count begins anew", () => {
    let nowMs = 0;
    const flapping = new Flapping({ connectsMax: 2, windowMs: 100, holdOffMs: 1_000 }, () => nowMs);
    const came = (times: number): boolean[] => Array.from({ length: times }, () => flapping.isHeldOff("c", "i"));
    expect(came(3)).toEqual([false, false, true]);
    expect(flapping.isHeldOff("c", "another")).toBe(false);
    nowMs = 1_000;
    expect(came(3)).toEqual([false, false, true]);
    nowMs = 5_000;
    expect(came(2)).toEqual([false, false]);
    nowMs = 5_100;
    expect(came(1)).toEqual([false]);
    for (let index = 0; index < 20_000; index++) flapping.isHeldOff(`c-${index}`, undefined);
    expect(flapping.size).toBe(10_000);
  });
});
