// Goal: sessions that outlive connections and crashes (MQTT 5.0 §4.1, 3.1.1 §3.1.2.4), QoS 2 both ways, shared subscriptions.
// Method: raw clients against a gateway over a log, which is closed as after a crash and opened again.
import { rmSync } from "node:fs";
import { encodeDisconnect, type ProtocolVersion, packetTypes, reasonCodes, utf8 } from "@headrace/mqtt";
import mqtt from "mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode, type TestNode } from "../../test/gateway-node.ts";
import { testPolicy } from "../../test/policies.ts";
import { RawClient } from "../../test/raw-client.ts";

const { puback, pubrec, pubrel, pubcomp, connack } = packetTypes;
const topic = "plants/a/pumps/p1";
const lasting = (version: ProtocolVersion, clientId: string, clean = false) => ({
  version,
  clientId,
  clean,
  properties: { sessionExpirySeconds: 600 },
});
const present = (client: RawClient): boolean | undefined =>
  client.packets.find(({ type }) => type === connack)?.sessionPresent;

/** The node anew on the same folder, as after a crash. */
const again = async (node: TestNode): Promise<TestNode> => {
  await node.crash();
  return startTestNode({ folder: node.folder, gateways: node.gateways });
};

const publishAll = async (node: TestNode, count: number, qos: 1 | 2, from = 1): Promise<void> => {
  await using publisher = await RawClient.connect(node.port, { clientId: "publisher" });
  const type = qos === 1 ? puback : pubrec;
  for (let id = from; id < from + count; id += 1) publisher.publish(topic, `m${id}`, { qos, packetId: id });
  await publisher.until((packet) => packet.type === type && packet.packetId === from + count - 1);
};

// A node with two threads takes a while to start on a busy machine.
describe.each([1, 2])("with %i gateway thread(s)", { timeout: 90_000 }, (gateways) => {
  describe.each([4, 5] as const)("version %i", (version) => {
    test("QoS 2 from a client is stored once and acknowledged when it is durable [v5 4.3.3-10]", async () => {
      await using node = await startTestNode({ gateways });
      await using client = await RawClient.connect(node.port, { clientId: "c", version });
      client.publish(topic, "one", { qos: 2, packetId: 5 });
      client.publish(topic, "one", { qos: 2, packetId: 5, duplicate: true });
      await expect.poll(() => client.packets.filter(({ type }) => type === pubrec).length).toBe(2);
      client.acknowledge(pubrel, 5);
      await client.until(({ type, packetId }) => type === pubcomp && packetId === 5);
      client.publish(topic, "two", { qos: 2, packetId: 5 });
      await expect.poll(() => client.packets.filter(({ type }) => type === pubrec).length).toBe(3);
      expect((await node.events("readings")).map(({ payload }) => payload)).toEqual(["one", "two"]);
    });

    test("a subscriber at QoS 2 gets a message once, at the lower of both QoS [v5 3.8.4-8]", async () => {
      await using node = await startTestNode({ gateways });
      await using subscriber = await RawClient.connect(node.port, { clientId: "s", version });
      await subscriber.subscribe("plants/#", 2);
      await publishAll(node, 1, 2);
      await publishAll(node, 1, 1, 2);
      const messages = await subscriber.received(2);
      expect(messages.map(({ payload, qos, packetId }) => [payload, qos, packetId])).toEqual([
        ["m1", 2, 1],
        ["m2", 1, 2],
      ]);
      subscriber.acknowledge(pubrec, 1);
      await subscriber.until(({ type, packetId }) => type === pubrel && packetId === 1);
      subscriber.acknowledge(pubcomp, 1);
    });

    test("a session keeps subscriptions and messages while its client is away, also over a crash [v4 3.1.2-4, 3.1.2-5, 4.1.0-1, 4.1.0-2] [v5 3.1.2-23, 4.1.0-1, 3.3.1-1]", async () => {
      let node = await startTestNode({ gateways });
      {
        await using client = await RawClient.connect(node.port, lasting(version, "s"));
        expect(present(client)).toBe(false);
        await client.subscribe("plants/#", 1);
      }
      await publishAll(node, 3, 1);
      node = await again(node);
      await publishAll(node, 2, 1, 4);
      {
        await using client = await RawClient.connect(node.port, lasting(version, "s"));
        expect(present(client)).toBe(true);
        const messages = await client.received(5);
        expect(messages.map(({ payload, packetId, duplicate }) => [payload, packetId, duplicate])).toEqual([
          ["m1", 1, false],
          ["m2", 2, false],
          ["m3", 3, false],
          ["m4", 4, false],
          ["m5", 5, false],
        ]);
        client.acknowledge(puback, 1);
        client.acknowledge(puback, 3);
        // The answer to a subscription follows what was acknowledged before it.
        await client.subscribe("other", 1);
      }
      node = await again(node);
      await using client = await RawClient.connect(node.port, lasting(version, "s"));
      const messages = await client.received(3);
      expect(messages.map(({ payload, packetId, duplicate }) => [payload, packetId, duplicate])).toEqual([
        ["m2", 2, true],
        ["m4", 4, true],
        ["m5", 5, true],
      ]);
      await node.stop();
      rmSync(node.folder, { recursive: true });
    });

    test("QoS 2 steps survive a crash: no message twice in either direction [v4 4.4.0-1, 3.3.1-1, 4.6.0-1] [v5 4.4.0-1, 4.6.0-1, 4.3.3-5, 4.3.3-6]", async () => {
      let node = await startTestNode({ gateways });
      {
        await using client = await RawClient.connect(node.port, lasting(version, "s"));
        await client.subscribe("plants/#", 2);
        await publishAll(node, 3, 2);
        await client.received(3);
        client.acknowledge(pubrec, 2);
        await client.until(({ type, packetId }) => type === pubrel && packetId === 2);
        client.publish("raw/x", "from s", { qos: 2, packetId: 9 });
        await client.until(({ type, packetId }) => type === pubrec && packetId === 9);
      }
      node = await again(node);
      {
        await using client = await RawClient.connect(node.port, lasting(version, "s"));
        await client.until(({ type, packetId }) => type === pubrel && packetId === 2);
        const messages = await client.received(2);
        expect(messages.map(({ payload, packetId, duplicate }) => [payload, packetId, duplicate])).toEqual([
          ["m1", 1, true],
          ["m3", 3, true],
        ]);
        client.acknowledge(pubcomp, 2);
        client.publish("raw/x", "from s", { qos: 2, packetId: 9, duplicate: true });
        await client.until(({ type, packetId }) => type === pubrec && packetId === 9);
        client.acknowledge(pubrel, 9);
        await client.until(({ type, packetId }) => type === pubcomp && packetId === 9);
      }
      expect((await node.events("raw")).map(({ payload }) => payload)).toEqual(["from s"]);
      node = await again(node);
      await using client = await RawClient.connect(node.port, lasting(version, "s"));
      client.publish("raw/x", "new", { qos: 2, packetId: 9 });
      await client.until(({ type, packetId }) => type === pubrec && packetId === 9);
      expect((await node.events("raw")).map(({ payload }) => payload)).toEqual(["from s", "new"]);
      expect((await client.received(2)).map(({ packetId }) => packetId)).toEqual([1, 3]);
      await node.stop();
      rmSync(node.folder, { recursive: true });
    });

    test("a clean start ends what was kept [v5 3.1.2-4]; what unsubscribed stays so", async () => {
      await using node = await startTestNode({ gateways });
      {
        await using client = await RawClient.connect(node.port, lasting(version, "s"));
        await client.subscribe("plants/#", 1);
      }
      {
        await using client = await RawClient.connect(node.port, lasting(version, "s", true));
        expect(present(client)).toBe(false);
      }
      await publishAll(node, 1, 1);
      await using client = await RawClient.connect(node.port, lasting(version, "s"));
      // In 3.1.1 a clean session leaves nothing behind; in 5.0 the new one with an expiry does.
      expect(present(client)).toBe(version === 5);
      await client.subscribe("x", 1);
      expect(client.messages).toEqual([]);
    });

    test("the window is kept: what is beyond Receive Maximum follows as messages end [v5 3.3.4-9]", async () => {
      await using node = await startTestNode({ gateways });
      const receiveMaximum = 2;
      const options = { ...lasting(version, "s"), properties: { sessionExpirySeconds: 600, receiveMaximum } };
      await using client = await RawClient.connect(node.port, options);
      await client.subscribe("plants/#", 1);
      await publishAll(node, 5, 1);
      if (version === 5) {
        await client.subscribe("x", 1);
        expect(client.messages).toHaveLength(2);
      }
      for (let id = 1; id <= 5; id += 1) {
        await client.received(id);
        client.acknowledge(puback, id);
      }
      expect(client.messages.map(({ payload }) => payload)).toEqual(["m1", "m2", "m3", "m4", "m5"]);
    });
  });

  describe("version 5", () => {
    test("a session ends when its expiry has passed [v5 4.1.0-2]; DISCONNECT may change it", async () => {
      let nowMs = Date.now();
      await using node = await startTestNode({ gateways, nowMs: () => nowMs });
      {
        await using client = await RawClient.connect(node.port, lasting(5, "s"));
        await client.subscribe("a", 1);
      }
      nowMs += 599_000;
      {
        await using client = await RawClient.connect(node.port, lasting(5, "s"));
        expect(present(client)).toBe(true);
      }
      nowMs += 601_000;
      await expect
        .poll(async () => {
          await using client = await RawClient.connect(node.port, { ...lasting(5, "s"), properties: {} });
          return present(client);
        })
        .toBe(false);
      {
        await using client = await RawClient.connect(node.port, lasting(5, "t"));
        client.send(Uint8Array.from([0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]));
        await client.closed();
      }
      await using client = await RawClient.connect(node.port, lasting(5, "t"));
      expect(present(client)).toBe(false);
    });

    test("an expiry beyond the limit is lowered and the client told", async () => {
      await using node = await startTestNode({ gateways, limits: { sessionExpiryMaxSeconds: 100 } });
      await using client = await RawClient.connect(node.port, lasting(5, "s"));
      expect(client.packets[0]?.properties).toMatchObject({ sessionExpirySeconds: 100 });
    });

    test("a will with a delay is sent after it, not when the session goes on before [v5 3.1.3-9], and once after a crash", async () => {
      let nowMs = Date.now();
      const will = { topic: "wills/s", payload: utf8("gone"), qos: 1 as const, retain: false };
      const withDelay = { ...lasting(5, "s"), will: { ...will, properties: { willDelaySeconds: 30 } } };
      const first = await startTestNode({ gateways, nowMs: () => nowMs });
      await (await RawClient.connect(first.port, withDelay))[Symbol.asyncDispose]();
      nowMs += 20_000;
      await (await RawClient.connect(first.port, withDelay))[Symbol.asyncDispose]();
      nowMs += 20_000;
      await publishAll(first, 1, 1);
      expect(await first.events("mqtt")).toEqual([]);
      await first.crash();
      const second = await startTestNode({ gateways, nowMs: () => nowMs, folder: first.folder });
      nowMs += 31_000;
      await expect.poll(async () => (await second.events("mqtt")).map(({ payload }) => payload)).toEqual(["gone"]);
      await second.crash();
      await using third = await startTestNode({ gateways, nowMs: () => nowMs, folder: first.folder });
      nowMs += 100_000;
      await publishAll(third, 1, 1);
      expect(await third.events("mqtt")).toHaveLength(1);
      await third.stop();
      rmSync(third.folder, { recursive: true });
    });

    test("shared subscriptions: each message to one member, fairly; a member that leaves leaves its messages to the others", async () => {
      await using node = await startTestNode({ gateways });
      const members = await Promise.all(["a", "b", "c"].map((clientId) => RawClient.connect(node.port, { clientId })));
      for (const member of members) await member.subscribe("$share/g/plants/#", 1);
      await publishAll(node, 9, 1);
      for (const member of members) await member.received(3);
      const [a, b, c] = members as [RawClient, RawClient, RawClient];
      for (const member of [b, c]) for (const { packetId = 0 } of member.messages) member.acknowledge(puback, packetId);
      const left = a.messages.map(({ payload }) => payload);
      await a[Symbol.asyncDispose]();
      await expect.poll(() => b.messages.length + c.messages.length).toBe(9);
      const others = [...b.messages, ...c.messages].map(({ payload }) => payload);
      expect(others.slice().sort()).toEqual(Array.from({ length: 9 }, (_, index) => `m${index + 1}`));
      expect(left.every((payload) => others.includes(payload))).toBe(true);
      await Promise.all([b, c].map((member) => member[Symbol.asyncDispose]()));
    });

    test("shared subscriptions: members that are away keep what was chosen for them; a connected one is preferred", async () => {
      await using node = await startTestNode({ gateways });
      {
        await using away = await RawClient.connect(node.port, lasting(5, "away"));
        await away.subscribe("$share/g/plants/#", 1);
      }
      await publishAll(node, 2, 1);
      await using here = await RawClient.connect(node.port, { clientId: "here" });
      await here.subscribe("$share/g/plants/#", 1);
      await publishAll(node, 2, 1, 3);
      expect((await here.received(2)).map(({ payload }) => payload)).toEqual(["m3", "m4"]);
      await using away = await RawClient.connect(node.port, lasting(5, "away"));
      expect((await away.received(2)).map(({ payload }) => payload)).toEqual(["m1", "m2"]);
    });

    test("a shared message answered with an error goes to nobody else [v5 4.8.2-6, 4.4.0-2]", async () => {
      await using node = await startTestNode({ gateways });
      await using a = await RawClient.connect(node.port, { clientId: "a" });
      await using b = await RawClient.connect(node.port, { clientId: "b" });
      await a.subscribe("$share/g/plants/#", 1);
      await publishAll(node, 1, 1);
      await b.subscribe("$share/g/plants/#", 1);
      await a.received(1);
      a.acknowledge(puback, 1, reasonCodes.implementationSpecificError);
      a.send(encodeDisconnect(5));
      await a.closed();
      await publishAll(node, 1, 1, 2);
      expect((await b.received(1)).map(({ payload }) => payload)).toEqual(["m2"]);
    });

    test("topic aliases to a client that takes them [v5 3.3.2-11, 3.1.2-26]; none to one that does not [v5 3.1.2-27]", async () => {
      await using node = await startTestNode({ gateways });
      await using one = await RawClient.connect(node.port, { clientId: "a", properties: { topicAliasMaximum: 1 } });
      await using none = await RawClient.connect(node.port, { clientId: "b" });
      for (const client of [one, none]) await client.subscribe("#", 1);
      await publishAll(node, 2, 1);
      await using publisher = await RawClient.connect(node.port, { clientId: "p" });
      publisher.publish("raw/x", "other", { packetId: 1 });
      expect((await one.received(3)).map(({ topic: name, properties }) => [name, properties?.topicAlias])).toEqual([
        [topic, 1],
        ["", 1],
        ["raw/x", undefined],
      ]);
      expect((await none.received(3)).map(({ topic: name, properties }) => [name, properties])).toEqual([
        [topic, {}],
        [topic, {}],
        ["raw/x", {}],
      ]);
    });

    test("P9: a permission that is withdrawn holds for live, queued, retained and shared messages", async () => {
      await using node = await startTestNode({ gateways, policy: testPolicy() });
      await using seer = await RawClient.connect(node.port, { clientId: "seer" });
      await seer.subscribe("#", 1);
      {
        await using client = await RawClient.connect(node.port, lasting(5, "s"));
        await client.subscribe("plants/#", 2);
        await client.subscribe("$share/g/plants/#", 1);
      }
      await publishAll(node, 2, 1);
      await node.gateway.setPolicy({ denied: "s" });
      await publishAll(node, 2, 1, 3);
      await using publisher = await RawClient.connect(node.port, { clientId: "p" });
      publisher.publish("kept/x", "retained", { packetId: 1, retain: true });
      await publisher.acknowledged(1);
      await using client = await RawClient.connect(node.port, lasting(5, "s"));
      await client.subscribe("kept/#", 1);
      await publishAll(node, 2, 2, 5);
      await seer.received(7);
      await client.subscribe("x", 1);
      expect(client.messages).toEqual([]);
    });

    test("[v4 4.8.0-2] a full disk: nothing is acknowledged, and the session tells neither too much nor too little afterwards", async () => {
      let node = await startTestNode({ gateways });
      {
        await using client = await RawClient.connect(node.port, lasting(5, "s"));
        await client.subscribe("plants/#", 2);
      }
      await publishAll(node, 1, 1);
      node.fillDisk(true);
      await using publisher = await RawClient.connect(node.port, { clientId: "p" });
      publisher.publish(topic, "refused", { packetId: 2 });
      await publisher.closed();
      node.fillDisk(false);
      await publishAll(node, 1, 1, 3);
      node = await again(node);
      await using client = await RawClient.connect(node.port, lasting(5, "s"));
      expect((await client.received(2)).map(({ payload }) => payload)).toEqual(["m1", "m3"]);
      await node.stop();
      rmSync(node.folder, { recursive: true });
    });
  });

  test.each([4, 5] as const)("MQTT.js version %i: QoS 2, a lasting session over a crash", async (protocolVersion) => {
    let node = await startTestNode({ gateways });
    const options = {
      protocolVersion,
      clientId: "s",
      clean: false,
      reconnectPeriod: 0,
      ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 600 } }),
    };
    const connect = (): mqtt.MqttClient => mqtt.connect(`mqtt://127.0.0.1:${node.port}`, options);
    const first = connect();
    await first.subscribeAsync("plants/#", { qos: 2 });
    await first.endAsync();
    const publisher = await mqtt.connectAsync(`mqtt://127.0.0.1:${node.port}`, { protocolVersion, clientId: "p" });
    for (const payload of ["1", "2", "3"]) await publisher.publishAsync(topic, payload, { qos: 2 });
    await publisher.endAsync();
    node = await again(node);
    const seen: string[] = [];
    const second = connect();
    second.on("message", (_name, payload) => seen.push(String(payload)));
    await expect.poll(() => seen).toEqual(["1", "2", "3"]);
    await second.endAsync();
    expect((await node.events("readings")).map(({ payload }) => payload)).toEqual(["1", "2", "3"]);
    await node.stop();
    rmSync(node.folder, { recursive: true });
  });

  describe("more statements", () => {
    test.each([4, 5] as const)(
      "[v4 4.6.0-3, 4.6.0-4] [v5 4.6.0-3, 4.6.0-4] version %i: PUBREC and PUBREL in the order of what they answer",
      async (version) => {
        await using node = await startTestNode({ gateways });
        await using client = await RawClient.connect(node.port, { clientId: "c", version });
        for (const packetId of [3, 1, 2]) client.publish("raw/x", "x", { qos: 2, packetId });
        await client.until(({ type, packetId }) => type === pubrec && packetId === 2);
        expect(client.packets.filter(({ type }) => type === pubrec).map(({ packetId }) => packetId)).toEqual([3, 1, 2]);
        await client.subscribe("raw/#", 2);
        for (const packetId of [7, 8, 9]) client.publish("raw/x", "x", { qos: 2, packetId });
        const ids = (await client.received(3)).map(({ packetId = 0 }) => packetId);
        const shuffled = [ids[2], ids[0], ids[1]] as number[];
        for (const packetId of shuffled) client.acknowledge(pubrec, packetId);
        await client.until(({ type, packetId }) => type === pubrel && packetId === shuffled[2]);
        expect(client.packets.filter(({ type }) => type === pubrel).map(({ packetId }) => packetId)).toEqual(shuffled);
      },
    );

    test("[v5 4.3.3-9, 3.5.2-2] a refused QoS 2 message frees its identifier; no reason is told where it would not fit", async () => {
      await using node = await startTestNode({ gateways });
      await using client = await RawClient.connect(node.port, { clientId: "c" });
      client.publish("devices/x/commands/y", "refused", { qos: 2, packetId: 5 });
      expect(await client.until(({ type }) => type === pubrec)).toMatchObject({ packetId: 5, reasonCode: 0x87 });
      client.publish("raw/x", "new", { qos: 2, packetId: 5 });
      await client.until(({ type, reasonCode }) => type === pubrec && reasonCode === 0);
      expect((await node.events("raw")).map(({ payload }) => payload)).toEqual(["new"]);
    });

    test("[v5 4.8.2-3, 4.8.2-4, 4.8.2-5] a shared QoS 2 message stays with the session that has it, at the QoS that was granted", async () => {
      await using node = await startTestNode({ gateways });
      await using low = await RawClient.connect(node.port, { clientId: "low" });
      await low.subscribe("$share/low/raw/#", 0);
      {
        await using one = await RawClient.connect(node.port, lasting(5, "one"));
        await one.subscribe("$share/g/raw/#", 2);
        await using publisher = await RawClient.connect(node.port, { clientId: "p" });
        publisher.publish("raw/x", "first", { qos: 2, packetId: 1 });
        await one.received(1);
      }
      expect(await low.received(1)).toMatchObject([{ qos: 0, payload: "first" }]);
      await using two = await RawClient.connect(node.port, { clientId: "two" });
      await two.subscribe("$share/g/raw/#", 2);
      {
        await using one = await RawClient.connect(node.port, lasting(5, "one"));
        expect(await one.received(1)).toMatchObject([{ payload: "first", duplicate: true }]);
      }
      // Its session ends without the rest of the exchange.
      await (await RawClient.connect(node.port, { clientId: "one", clean: true }))[Symbol.asyncDispose]();
      await using publisher = await RawClient.connect(node.port, { clientId: "p" });
      publisher.publish("raw/x", "second", { qos: 2, packetId: 1 });
      expect((await two.received(1)).map(({ payload }) => payload)).toEqual(["second"]);
    });
  });
});

// The clock of a test does not reach gateway threads.
describe("as time passes", () => {
  test("messages expire while they wait, and what is left of their time is told [v5 3.3.2-5, 3.3.2-6]", async () => {
    let nowMs = Date.now();
    await using node = await startTestNode({ nowMs: () => nowMs });
    {
      await using client = await RawClient.connect(node.port, lasting(5, "s"));
      await client.subscribe("plants/#", 1);
    }
    await using publisher = await RawClient.connect(node.port, { clientId: "p" });
    publisher.publish(topic, "short", { packetId: 1, properties: { messageExpirySeconds: 5 } });
    publisher.publish(topic, "long", { packetId: 2, properties: { messageExpirySeconds: 100, payloadFormat: 1 } });
    publisher.publish("kept/x", "gone", { packetId: 3, retain: true, properties: { messageExpirySeconds: 5 } });
    publisher.publish("kept/y", "here", { packetId: 4, retain: true, properties: { messageExpirySeconds: 100 } });
    await publisher.acknowledged(4);
    nowMs += 10_000;
    await using client = await RawClient.connect(node.port, lasting(5, "s"));
    await client.received(1);
    await client.subscribe("kept/#", 1);
    const messages = await client.received(2);
    expect(messages.map(({ payload, properties }) => [payload, properties?.messageExpirySeconds])).toEqual([
      ["long", 90],
      ["here", 90],
    ]);
  });

  test("[v5 4.3.3-7, 4.3.3-13, 4.3.2-3] what was sent once is completed although it has expired meanwhile", async () => {
    let nowMs = Date.now();
    await using node = await startTestNode({ nowMs: () => nowMs });
    {
      await using client = await RawClient.connect(node.port, lasting(5, "s"));
      await client.subscribe("raw/#", 2);
      await using publisher = await RawClient.connect(node.port, { clientId: "p" });
      publisher.publish("raw/x", "x", { qos: 2, packetId: 1, properties: { messageExpirySeconds: 5 } });
      await client.received(1);
    }
    nowMs += 10_000;
    await using client = await RawClient.connect(node.port, lasting(5, "s"));
    const [message] = await client.received(1);
    expect(message).toMatchObject({ duplicate: true, packetId: 1, properties: { messageExpirySeconds: 0 } });
    client.acknowledge(pubrec, 1);
    await client.until(({ type }) => type === pubrel);
  });
});
