/**
 * Goal: several gateway threads are one gateway also when one of them dies, a policy changes, or messages cross between them.
 * Method: raw clients on the ports of single threads; a thread ends when the client of which its policy says so connects.
 */
import { type PublishProperties, packetTypes, reasonCodes, utf8 } from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode, type TestNode } from "../../test/gateway-node.ts";
import { testPolicy } from "../../test/policies.ts";
import { RawClient } from "../../test/raw-client.ts";

const { connack } = packetTypes;
const topic = "plants/a/pumps/p1";
const lasting = (clientId: string) => ({ clientId, clean: false, properties: { sessionExpirySeconds: 600 } });
const numbered = (sequence: number): PublishProperties => ({
  userProperties: [
    ["hr-epoch", "1"],
    ["hr-seq", String(sequence)],
  ],
});
/** The port of one thread, as it is now: a thread that is started again has another. */
const portOf = (node: TestNode, thread: number): number => node.gateway.ownPorts[thread] as number;

const start = (options: Parameters<typeof startTestNode>[0] = {}): Promise<TestNode> =>
  startTestNode({ gateways: 2, policy: testPolicy({ poison: "poison" }), ...options });

/** Ends a thread, and waits until it has been started again. */
const killThread = async (node: TestNode, thread: number): Promise<void> => {
  const before = node.gateway.stats().restarts;
  const port = portOf(node, thread);
  const killer = await RawClient.begin(port, { clientId: "poison" });
  await killer.closed(30_000);
  await expect.poll(() => node.gateway.stats().restarts, { timeout: 30_000 }).toBe(before + 1);
  await expect.poll(() => portOf(node, thread), { timeout: 30_000 }).not.toBe(port);
};

// A node with two threads takes a while to start on a busy machine.
describe("a gateway thread that dies", { timeout: 90_000 }, () => {
  test("P1: is started again; what it acknowledged is stored, its lasting sessions go on, its clients' wills are published", async () => {
    await using node = await start();
    await using witness = await RawClient.connect(portOf(node, 0), { clientId: "witness" });
    await witness.subscribe("wills/#", 1);
    const will = { topic: "wills/doomed", payload: utf8("gone"), qos: 1 as const, retain: false };
    await using doomed = await RawClient.connect(portOf(node, 1), { clientId: "doomed", will });
    await using keeper = await RawClient.connect(portOf(node, 1), lasting("keeper"));
    await keeper.subscribe("plants/#", 1);
    for (let id = 1; id <= 20; id += 1) doomed.publish(topic, `m${id}`, { packetId: id });
    await doomed.acknowledged(20);
    await killThread(node, 1);
    await doomed.closed();
    await keeper.closed();
    expect((await witness.received(1)).map(({ payload }) => payload)).toEqual(["gone"]);

    // Its channels go on under another epoch, behind what it wrote.
    await using again = await RawClient.connect(portOf(node, 1), { clientId: "doomed" });
    again.publish(topic, "m21", { packetId: 1 });
    await again.acknowledged(1);
    const wanted = Array.from({ length: 21 }, (_, index) => `m${index + 1}`);
    expect((await node.events("readings")).map(({ payload }) => payload)).toEqual(wanted);
    await using back = await RawClient.connect(portOf(node, 0), lasting("keeper"));
    expect(back.packets.find(({ type }) => type === connack)?.sessionPresent).toBe(true);
    await expect.poll(() => new Set(back.messages.map(({ payload }) => payload)).size, { timeout: 10_000 }).toBe(21);
  });

  test("five times without having lived a minute ends the node, with the reason", async () => {
    const ends: unknown[] = [];
    await using node = await start({ onFatal: (error) => ends.push(error) });
    for (let death = 1; death <= 4; death += 1) await killThread(node, 0);
    expect(ends).toEqual([]);
    await (await RawClient.begin(portOf(node, 0), { clientId: "poison" })).closed(30_000);
    await expect.poll(() => ends, { timeout: 10_000 }).toMatchObject([{ code: "HR_GATEWAY_FAILED" }]);
    // The other thread is there until the node ends.
    await using client = await RawClient.connect(portOf(node, 1), { clientId: "c" });
    client.publish(topic, "still", { packetId: 1 });
    await client.acknowledged(1);
  });
});

describe("between two gateway threads", { timeout: 90_000 }, () => {
  test("a device that moves from thread to thread is recognised: repeats are acknowledged, stored once, and passed on once", async () => {
    await using node = await start();
    await using subscriber = await RawClient.connect(portOf(node, 0), { clientId: "s" });
    await subscriber.subscribe("plants/#", 1);
    for (const [thread, sequences] of [
      [0, [1, 2]],
      [1, [2, 3]],
      [0, [1, 3, 4]],
    ] as const) {
      await using device = await RawClient.connect(portOf(node, thread), { clientId: "p1" });
      for (const [index, sequence] of sequences.entries()) {
        device.publish(topic, `s${sequence}`, { packetId: index + 1, properties: numbered(sequence) });
      }
      await device.acknowledged(sequences.length);
    }
    expect(node.inOrder("readings")).toEqual(["s1", "s2", "s3", "s4"]);
    expect((await subscriber.received(4)).map(({ payload }) => payload)).toEqual(["s1", "s2", "s3", "s4"]);
    await subscriber.subscribe("x", 1);
    expect(subscriber.messages).toHaveLength(4);
  });

  test("what is retained by one thread is there for a subscriber of the other as soon as it is acknowledged, the newest last", async () => {
    await using node = await start();
    await using a = await RawClient.connect(portOf(node, 0), { clientId: "a" });
    await using b = await RawClient.connect(portOf(node, 1), { clientId: "b" });
    for (let round = 1; round <= 10; round += 1) {
      const [setter, other] = round % 2 === 0 ? [a, b] : [b, a];
      setter.publish(`kept/${round}`, "old", { packetId: round, retain: true });
      await setter.acknowledged(round);
      other.publish(`kept/${round}`, "new", { packetId: 100 + round, retain: true });
      await other.acknowledged(100 + round);
      await using late = await RawClient.connect(portOf(node, round % 2), { clientId: `late-${round}` });
      await late.subscribe(`kept/${round}`, 1);
      expect((await late.received(1)).map(({ payload, retain }) => [payload, retain])).toEqual([["new", true]]);
    }
  });

  test("nothing that is published after a SUBACK is missed, whichever threads they are on", async () => {
    await using node = await start();
    await using a = await RawClient.connect(portOf(node, 0), { clientId: "a" });
    await using b = await RawClient.connect(portOf(node, 1), { clientId: "b" });
    for (let round = 1; round <= 30; round += 1) {
      const [subscriber, publisher] = round % 2 === 0 ? [a, b] : [b, a];
      const before = subscriber.messages.length;
      await subscriber.subscribe(`news/${round}`, round % 3 === 0 ? 0 : 1);
      publisher.publish(`news/${round}`, String(round), { packetId: round });
      expect((await subscriber.received(before + 1)).at(-1)?.payload).toBe(String(round));
    }
  });

  test("a lasting session that moves while messages come loses and doubles none at QoS 2", async () => {
    await using node = await start();
    await using publisher = await RawClient.connect(portOf(node, 0), { clientId: "p" });
    const seen: string[] = [];
    const count = 60;
    const publish = async (from: number, to: number): Promise<void> => {
      for (let id = from; id <= to; id += 1) publisher.publish(topic, `m${id}`, { qos: 2, packetId: id });
      await publisher.until(({ type, packetId }) => type === packetTypes.pubrec && packetId === to, 10_000);
    };
    for (let move = 0; move < 4; move += 1) {
      const client = await RawClient.connect(portOf(node, move % 2), lasting("s"));
      if (move === 0) await client.subscribe("plants/#", 2);
      await publish(move * 15 + 1, move * 15 + 15);
      await client.received(10);
      // It answers what has come, and is taken over in the middle of that.
      for (const { packetId = 0, payload = "", duplicate } of client.messages.slice(0, 10)) {
        if (!duplicate || !seen.includes(payload)) seen.push(payload);
        client.acknowledge(packetTypes.pubrec, packetId);
      }
    }
    await using last = await RawClient.connect(portOf(node, 0), lasting("s"));
    await expect
      .poll(
        () => {
          for (const { packetId = 0, payload = "" } of last.messages) {
            if (!seen.includes(payload)) seen.push(payload);
            last.acknowledge(packetTypes.pubrec, packetId);
          }
          for (const { type, packetId = 0 } of last.packets) {
            if (type === packetTypes.pubrel) last.acknowledge(packetTypes.pubcomp, packetId);
          }
          return seen.length;
        },
        { timeout: 20_000 },
      )
      .toBe(count);
    expect(new Set(seen).size).toBe(count);
  });

  test("P9: a policy that changes holds in every thread, for publishers and subscribers that are connected", async () => {
    await using node = await start();
    await using a = await RawClient.connect(portOf(node, 0), { clientId: "a" });
    await using b = await RawClient.connect(portOf(node, 1), { clientId: "b" });
    for (const client of [a, b]) await client.subscribe("raw/#", 1);
    for (const client of [a, b]) {
      client.publish("raw/x", "before", { packetId: 1 });
      expect((await client.acknowledged(1)).reasonCode).toBe(0);
    }
    for (const client of [a, b]) await client.received(2);
    await node.gateway.setPolicy({ denied: "a", closed: "shut/" });
    for (const [index, client] of [a, b].entries()) {
      client.publish("raw/x", "after", { packetId: 2 });
      client.publish("shut/x", "refused", { packetId: 3 });
      expect((await client.acknowledged(2)).reasonCode, `client ${index}`).toBe(0);
      expect((await client.acknowledged(3)).reasonCode, `client ${index}`).toBe(reasonCodes.notAuthorized);
    }
    await b.received(4);
    await a.subscribe("x", 1);
    expect(a.messages).toHaveLength(2);
  });

  test("functions are no policy for several threads", async () => {
    await expect(startTestNode({ gateways: 2, authorize: () => undefined })).rejects.toMatchObject({
      code: "HR_BAD_REQUEST",
    });
  });

  test("a shared subscription has one turn over all threads: each member gets as many, no message twice", async () => {
    await using node = await start();
    const members = await Promise.all(
      [0, 1, 0, 1].map((thread, index) => RawClient.connect(portOf(node, thread), { clientId: `m${index}` })),
    );
    for (const member of members) await member.subscribe("$share/g/plants/#", 1);
    const publishers = await Promise.all(
      [0, 1].map((thread) => RawClient.connect(portOf(node, thread), { clientId: `p${thread}` })),
    );
    for (let id = 1; id <= 20; id += 1) {
      for (const [index, publisher] of publishers.entries())
        publisher.publish(topic, `${index}-${id}`, { packetId: id });
    }
    for (const publisher of publishers) await publisher.acknowledged(20);
    await expect.poll(() => members.map(({ messages }) => messages.length)).toEqual([10, 10, 10, 10]);
    const all = members.flatMap(({ messages }) => messages.map(({ payload }) => payload));
    expect(new Set(all).size).toBe(40);
    for (const client of [...members, ...publishers]) await client[Symbol.asyncDispose]();
  });
});
