/** What devices and subscribers meet at the gateway: clients that know nothing of our code, and raw bytes. */
import { execFile } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { promisify } from "node:util";
import { packetTypes, reasonCodes } from "@headrace/mqtt";
import mqtt from "mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode, streamOf } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";

const run = promisify(execFile);
const hasMosquitto = existsSync("/usr/bin/mosquitto_pub");
const topic = "plants/a/pumps/p1";
const sequenced = (sequence: number, epoch = 1): [string, string][] => [
  ["hr-epoch", String(epoch)],
  ["hr-seq", String(sequence)],
];

describe.each([1, 2])("with %i gateway thread(s)", { timeout: 90_000 }, (gateways) => {
  describe("foreign clients", () => {
    test.runIf(hasMosquitto)("mosquitto_pub in both versions stores with the device of the topic as key", async () => {
      await using node = await startTestNode({ gateways });
      for (const version of ["mqttv311", "mqttv5"]) {
        await run("mosquitto_pub", [
          "-p",
          String(node.port),
          "-V",
          version,
          "-i",
          `c-${version}`,
          "-t",
          topic,
          "-m",
          version,
          "-q",
          "1",
        ]);
      }
      // Two connections may be on two threads, whose channels have no order between them.
      const events = (await node.events("readings")).sort((a, b) => a.payload.localeCompare(b.payload));
      expect(events).toMatchObject([
        { topic, key: "p1", client: "c-mqttv311", payload: "mqttv311" },
        { topic, key: "p1", client: "c-mqttv5", payload: "mqttv5" },
      ]);
    });

    test.each([4, 5] as const)(
      "MQTT.js version %i publishes, subscribes, gets retained messages and wills",
      async (protocolVersion) => {
        await using node = await startTestNode({ gateways });
        const url = `mqtt://127.0.0.1:${node.port}`;
        const subscriber = await mqtt.connectAsync(url, { protocolVersion, clientId: "subscriber" });
        const seen: string[] = [];
        subscriber.on("message", (name, payload, { retain }) =>
          seen.push(`${name}=${payload}${retain ? " retained" : ""}`),
        );
        const publisher = await mqtt.connectAsync(url, {
          protocolVersion,
          clientId: "publisher",
          reconnectPeriod: 0,
          will: { topic: "wills/publisher", payload: Buffer.from("gone"), qos: 1, retain: false },
        });
        await publisher.publishAsync("state/x", "kept", { qos: 1, retain: true });
        await subscriber.subscribeAsync(["state/#", "wills/#", topic], { qos: 1 });
        await publisher.publishAsync(topic, "live", { qos: 1 });
        await publisher.publishAsync(topic, "fast", { qos: 0 });
        // A socket that is destroyed drops what the client has not written: QoS 0 promises nothing.
        await expect.poll(() => seen).toContain(`${topic}=fast`);
        publisher.stream.destroy();
        await expect
          .poll(() => seen)
          .toEqual(["state/x=kept retained", `${topic}=live`, `${topic}=fast`, "wills/publisher=gone"]);
        await subscriber.endAsync();
        expect((await node.events("readings")).map(({ payload }) => payload)).toEqual(["live", "fast"]);
        expect((await node.events("mqtt")).map(({ payload }) => payload)).toEqual(["kept", "gone"]);
      },
    );
  });

  describe("acknowledgement", () => {
    test("[v4 4.6.0-2] [v5 4.6.0-2] PUBACKs come in the order of the messages, refusals in their place", async () => {
      await using node = await startTestNode({ gateways });
      await using client = await RawClient.connect(node.port, { clientId: "c" });
      client.publish(topic, "1", { packetId: 1 });
      client.publish("devices/p1/commands/fan", "2", { packetId: 2 });
      client.publish("$SYS/x", "3", { packetId: 3 });
      client.publish("devices/p1/commands/17/ack", "4", { packetId: 4 });
      await client.acknowledged(4);
      expect(client.packets.slice(1).map(({ packetId, reasonCode }) => [packetId, reasonCode])).toEqual([
        [1, 0],
        [2, reasonCodes.notAuthorized],
        [3, reasonCodes.topicNameInvalid],
        [4, 0],
      ]);
      await expect.poll(() => node.gateway.stats()).toMatchObject({ stored: 2, refused: 2 });
    });

    test("a 3.1.1 client cannot be told of a refusal, so its connection ends, after what it is owed", async () => {
      await using node = await startTestNode({ gateways });
      await using client = await RawClient.connect(node.port, { clientId: "c", version: 4 });
      client.publish(topic, "1", { packetId: 1 });
      client.publish("devices/p1/commands/fan", "2", { packetId: 2 });
      await client.closed();
      expect(client.packets.slice(1)).toEqual([{ type: packetTypes.puback, packetId: 1, reasonCode: 0 }]);
    });
  });

  describe("repeats", () => {
    test("a repeated device sequence is acknowledged and not stored again, in one group and over groups", async () => {
      await using node = await startTestNode({ gateways });
      await using client = await RawClient.connect(node.port, { clientId: "c" });
      for (const [index, sequence] of [1, 2, 2, 1, 3].entries()) {
        client.publish(topic, `s${sequence}`, {
          packetId: index + 1,
          properties: { userProperties: sequenced(sequence) },
        });
      }
      await client.acknowledged(5);
      client.publish(topic, "s3", { packetId: 6, properties: { userProperties: sequenced(3) } });
      client.publish(topic, "new epoch", { packetId: 7, properties: { userProperties: sequenced(1, 2) } });
      await client.acknowledged(7);
      expect((await node.events("readings")).map(({ payload }) => payload)).toEqual(["s1", "s2", "s3", "new epoch"]);
      expect(node.gateway.stats().repeated).toBe(3);
    });

    test.each(["crash", "stop"] as const)("marks, retained messages and idempotency keys survive a %s", async (end) => {
      const first = await startTestNode({ gateways });
      {
        await using client = await RawClient.connect(first.port, { clientId: "c" });
        client.publish(topic, "s5", { packetId: 1, properties: { userProperties: sequenced(5) } });
        client.publish("state/x", "kept", { packetId: 2, retain: true });
        await client.acknowledged(2);
        await first.gateway.submit([{ topic, payload: Buffer.from("over HTTP") }], "key-1");
      }
      await first[end]();
      await using second = await startTestNode({ gateways, folder: first.folder });
      await using client = await RawClient.connect(second.port, { clientId: "c" });
      client.publish(topic, "s5 again", { packetId: 1, properties: { userProperties: sequenced(5) } });
      client.publish(topic, "s6", { packetId: 2, properties: { userProperties: sequenced(6) } });
      await client.acknowledged(2);
      expect(await second.gateway.submit([{ topic, payload: Buffer.from("over HTTP") }], "key-1")).toEqual({
        stored: 1,
        repeated: true,
      });
      // Requests have a channel of their own beside those of gateway threads.
      expect((await second.events("readings")).map(({ payload }) => payload).sort()).toEqual(["over HTTP", "s5", "s6"]);
      await client.subscribe("state/+");
      expect(await client.until(({ type }) => type === packetTypes.publish)).toMatchObject({
        topic: "state/x",
        payload: "kept",
        retain: true,
      });
      await second.stop();
      rmSync(first.folder, { recursive: true, force: true });
    });
  });

  describe("requests", () => {
    test("a batch is stored whole or refused whole", async () => {
      await using node = await startTestNode({ gateways });
      const good = { topic, payload: Buffer.from("1") };
      expect(await node.gateway.submit([good, { stream: "raw", device: "d", payload: Buffer.from("2") }])).toEqual({
        stored: 2,
        repeated: false,
      });
      await expect(node.gateway.submit([good, { stream: "nowhere", payload: Buffer.from("3") }])).rejects.toMatchObject(
        {
          code: "HR_NOT_FOUND",
        },
      );
      await expect(
        node.gateway.submit([good, { topic: "no/stream", payload: Buffer.from("3") }]),
      ).rejects.toMatchObject({
        code: "HR_NOT_FOUND",
      });
      expect(await node.events("readings")).toHaveLength(1);
      expect(await node.events("raw")).toMatchObject([{ key: "d", payload: "2" }]);
    });
  });

  describe("sessions", () => {
    test("[v4 3.1.4-2] [v5 3.1.4-3] a second connection under the same client id ends the first with 0x8E; accepted events come first (P3)", async () => {
      await using node = await startTestNode({ gateways });
      await using first = await RawClient.connect(node.port, { clientId: "same" });
      first.publish("raw/x", "old", { packetId: 1 });
      await using second = await RawClient.connect(node.port, { clientId: "same" });
      second.publish("raw/x", "new", { packetId: 1 });
      await second.acknowledged(1);
      expect(await first.until(({ type }) => type === packetTypes.disconnect)).toMatchObject({
        reasonCode: reasonCodes.sessionTakenOver,
      });
      // In the order of their groups: each thread has a channel of its own.
      expect(node.inOrder("raw")).toEqual(["old", "new"]);
    });

    test("close() acknowledges what was accepted and says 0x8B", async () => {
      await using node = await startTestNode({ gateways });
      await using client = await RawClient.connect(node.port, { clientId: "c" });
      client.publish(topic, "last");
      await client.acknowledged(1);
      await node.stop();
      expect(client.packets.at(-1)).toEqual({
        type: packetTypes.disconnect,
        reasonCode: reasonCodes.serverShuttingDown,
      });
      await client.closed();
    });

    test("a socket without CONNECT is closed at the deadline, a wrong first packet at once", async () => {
      await using node = await startTestNode({ gateways, limits: { connectDeadlineMs: 300 } });
      await using silent = await RawClient.open(node.port);
      await using wrong = await RawClient.open(node.port);
      wrong.send(Uint8Array.of(0xc0, 0));
      await wrong.closed();
      await silent.closed();
    });

    test("a port in use is named", async () => {
      await using node = await startTestNode({ gateways });
      await expect(
        startTestNode({ gateways, listeners: [{ transport: "tcp", host: "127.0.0.1", port: node.sharedPort }] }),
      ).rejects.toMatchObject({
        code: "HR_PORT_IN_USE",
        data: { port: node.sharedPort, host: "127.0.0.1" },
      });
    });
  });

  describe("delivery", () => {
    test("every session gets each message once and in order, whichever threads publisher and session are in", async () => {
      await using node = await startTestNode({ gateways });
      const url = `mqtt://127.0.0.1:${node.port}`;
      const subscribers = await Promise.all(
        Array.from({ length: 6 }, async (_, index) => {
          const client = await mqtt.connectAsync(url, { clientId: `s${index}` });
          const seen: string[] = [];
          client.on("message", (name, payload) => seen.push(`${name} ${payload}`));
          // Overlapping subscriptions are one delivery each.
          await client.subscribeAsync(["many/#", "many/+/x"], { qos: 1 });
          return { client, seen };
        }),
      );
      const publishers = await Promise.all(
        Array.from({ length: 4 }, (_, index) => mqtt.connectAsync(url, { clientId: `p${index}` })),
      );
      // A subscription is known to the other threads a moment after its SUBACK.
      await expect
        .poll(async () => {
          for (const publisher of publishers) await publisher.publishAsync("many/probe", "", { qos: 1 });
          return subscribers.every(({ seen }) => seen.length >= publishers.length);
        })
        .toBe(true);
      const topics = publishers.map((_, index) => `many/${index}/x`);
      await Promise.all(
        publishers.flatMap((publisher, index) =>
          Array.from({ length: 25 }, (_, number) =>
            publisher.publishAsync(topics[index] as string, String(number), { qos: number % 2 === 0 ? 1 : 0 }),
          ),
        ),
      );
      const numbersOf = (seen: readonly string[], name: string, qos: 0 | 1): number[] =>
        seen
          .filter((line) => line.startsWith(`${name} `))
          .map((line) => Number(line.slice(name.length + 1)))
          .filter((number) => number % 2 === 1 - qos);
      const even = Array.from({ length: 13 }, (_, index) => index * 2);
      const odd = Array.from({ length: 12 }, (_, index) => index * 2 + 1);
      for (const { seen } of subscribers) {
        await expect
          .poll(() => topics.map((name) => [numbersOf(seen, name, 1), numbersOf(seen, name, 0)]))
          .toEqual(topics.map(() => [even, odd]));
      }
      await Promise.all([...publishers, ...subscribers.map(({ client }) => client)].map((client) => client.endAsync()));
    });

    test("a command reaches the device's session; an observer alone does not count", async () => {
      await using node = await startTestNode({ gateways });
      const ready: string[] = [];
      node.gateway.onDeviceReady((device) => ready.push(device));
      await using observer = await RawClient.connect(node.port, { clientId: "observer" });
      await observer.subscribe("devices/#");
      const send = (): string =>
        node.gateway.deliver("p1", "devices/p1/commands/fan", Buffer.from("{}"), () => ({
          responseTopic: "devices/p1/commands/17/ack",
        }));
      expect(send()).toBe("offline");
      await using device = await RawClient.connect(node.port, { clientId: "box" });
      await device.subscribe("devices/p1/commands/+");
      expect(ready).toEqual(["observer", "p1"]);
      expect(send()).toBe("sent");
      expect(await device.until(({ type }) => type === packetTypes.publish)).toMatchObject({
        topic: "devices/p1/commands/fan",
        payload: "{}",
      });
    });
  });

  test("new streams take effect without a restart", async () => {
    await using node = await startTestNode({ gateways });
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    client.publish("later/d", "1", { packetId: 1 });
    await client.acknowledged(1);
    await node.gateway.setStreams([streamOf("later", "later/:device", { partitions: 4 })]);
    client.publish("later/d", "2", { packetId: 2 });
    await client.acknowledged(2);
    expect(await node.events("later")).toMatchObject([{ key: "d", payload: "2" }]);
    expect(await node.events("mqtt")).toMatchObject([{ payload: "1" }]);
  });
});

describe("at its bounds", () => {
  test("P1: nothing is acknowledged, and no subscriber sees it, before the group is durable", async () => {
    await using node = await startTestNode();
    await using subscriber = await RawClient.connect(node.port, { clientId: "s" });
    await subscriber.subscribe("#");
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    const flushes: (() => void)[] = [];
    const source = node.log.requestFlush.bind(node.log);
    node.log.requestFlush = (lingerMs) => void flushes.push(() => source(lingerMs));
    client.publish(topic, "wait");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([client.packets.length, subscriber.packets.length, flushes.length]).toEqual([1, 2, 1]);
    node.log.requestFlush = source;
    flushes[0]();
    await client.acknowledged(1);
    await subscriber.until(({ payload }) => payload === "wait");
    expect((await node.events("readings")).length).toBe(1);
  });

  test("P4: a full disk refuses with a reason and takes the marks back, so that the repeat is stored", async () => {
    await using node = await startTestNode();
    {
      await using client = await RawClient.connect(node.port, { clientId: "c" });
      node.fillDisk(true);
      client.publish(topic, "1", { packetId: 1, properties: { userProperties: sequenced(1) } });
      expect(await client.acknowledged(1)).toMatchObject({ reasonCode: reasonCodes.quotaExceeded });
      await client.closed();
      await expect(node.gateway.submit([{ topic, payload: Buffer.from("2") }], "key")).rejects.toMatchObject({
        code: "HR_DISK_FULL",
      });
    }
    node.fillDisk(false);
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    client.publish(topic, "1", { packetId: 1, properties: { userProperties: sequenced(1) } });
    expect(await client.acknowledged(1)).toMatchObject({ reasonCode: 0 });
    expect(await node.gateway.submit([{ topic, payload: Buffer.from("2") }], "key")).toEqual({
      stored: 1,
      repeated: false,
    });
    expect((await node.events("readings")).map(({ payload }) => payload)).toEqual(["1", "2"]);
  });

  test("P7: beyond the bound a request is refused and takes nothing", async () => {
    await using node = await startTestNode({ limits: { waitingBytesMax: 10_000 } });
    const event = { topic, payload: Buffer.alloc(6_000) };
    const [first, second] = await Promise.allSettled([node.gateway.submit([event]), node.gateway.submit([event])]);
    expect(first.status).toBe("fulfilled");
    expect(second).toMatchObject({ status: "rejected", reason: { code: "HR_OVERLOADED" } });
    expect(await node.events("readings")).toHaveLength(1);
  });

  test("P9: a subscriber that may subscribe but not receive gets neither live nor retained messages", async () => {
    const authorize = (
      action: string,
      _identity: string | undefined,
      clientId: string,
      name: string,
    ): string | undefined =>
      action === "receive" && clientId === "spy" && name.startsWith("secret/") ? "not for you" : undefined;
    await using node = await startTestNode({ authorize });
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    client.publish("secret/a", "kept", { packetId: 1, retain: true });
    await client.acknowledged(1);
    await using spy = await RawClient.connect(node.port, { clientId: "spy" });
    await spy.subscribe("#");
    client.publish("secret/b", "live", { packetId: 2 });
    client.publish("open/c", "open", { packetId: 3 });
    await spy.until(({ payload }) => payload === "open");
    expect(spy.packets.filter(({ type }) => type === packetTypes.publish).map(({ payload }) => payload)).toEqual([
      "open",
    ]);
  });

  test("a subscriber that does not read holds up nobody", async () => {
    await using node = await startTestNode({ limits: { subscriberBytesMax: 64 * 1024 } });
    await using slow = await RawClient.connect(node.port, { clientId: "slow" });
    await slow.subscribe("raw/#", 0);
    slow.pause();
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    for (let round = 0; round < 10; round++) {
      for (let packetId = 1; packetId <= 500; packetId++) client.publish("raw/x", "x".repeat(2_000), { packetId });
      await client.acknowledged(500);
      client.packets.length = 0;
    }
    expect(await node.events("raw")).toHaveLength(5_000);
    expect(node.gateway.stats().dropped).toBeGreaterThan(0);
  });

  test("P7: a device that sends more than the bound is slowed down and loses nothing", async () => {
    await using node = await startTestNode({ limits: { waitingBytesMax: 4_096, receiveMaximum: 5_000 } });
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    for (let packetId = 1; packetId <= 2_000; packetId++)
      client.publish(topic, String(packetId).padEnd(100), { packetId });
    await client.acknowledged(2_000);
    expect((await node.events("readings")).map(({ payload }) => Number(payload))).toEqual(
      Array.from({ length: 2_000 }, (_, index) => index + 1),
    );
  });
});
