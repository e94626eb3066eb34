/**
 * Goal: `$SYS` has the node's figures for those who ask for them and may read them, and for nobody else.
 * Method: raw clients against a gateway with a short interval, with one and with two threads.
 */
import { reasonCodes } from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";
import { LoadAverage } from "./load-average.ts";
import { openPolicy } from "./policy.ts";

const soon = { timeout: 10_000 };
const topic = "plants/a/pumps/p1";
const lastOf = (client: RawClient, name: string): string | undefined =>
  client.messages.findLast((message) => message.topic === `$SYS/broker/${name}`)?.payload;

describe.each([1, 2])("with %i gateway thread(s)", (gateways) => {
  test("[v5 4.7.2-1] a subscriber to $SYS gets the figures at once and again; one to a leading wildcard gets none", async () => {
    await using node = await startTestNode({ gateways, sysIntervalMs: 50 });
    await using wide = await RawClient.connect(node.port, { clientId: "wide" });
    await wide.subscribe("#");
    await wide.subscribe("+/broker/uptime");
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    client.publish(topic, "x", { retain: true });
    await client.acknowledged(1);
    await client.subscribe("$SYS/#", 2);
    await expect
      .poll(
        () => ({
          connected: lastOf(client, "clients/connected"),
          received: lastOf(client, "messages/received"),
          retained: lastOf(client, "retained messages/count"),
          subscriptions: lastOf(client, "subscriptions/count"),
        }),
        soon,
      )
      .toEqual({ connected: "2", received: "1", retained: "1", subscriptions: "3" });
    expect(lastOf(client, "version")).toMatch(/^headrace \d+\.\d+\.\d+$/);
    expect(lastOf(client, "uptime")).toMatch(/^\d+ seconds$/);
    expect(Number(lastOf(client, "load/messages/received/15min"))).toBeGreaterThan(0);
    expect(client.messages.every(({ qos, retain }) => qos === 0 && retain === false)).toBe(true);
    const before = Number(lastOf(client, "bytes/sent"));
    await expect.poll(() => Number(lastOf(client, "bytes/sent")), soon).toBeGreaterThan(before);
    expect(wide.messages.map((message) => message.topic)).toEqual([topic]);
  });
});

test("the policy says who may subscribe to $SYS and what of it arrives", async () => {
  await using node = await startTestNode({
    sysIntervalMs: 20,
    authorize: (action, identity, clientId, name) =>
      action === "subscribe" && clientId === "nobody" && name.startsWith("$SYS")
        ? "not for you"
        : action === "receive" && name.startsWith("$SYS/broker/bytes")
          ? "not for anybody"
          : openPolicy(action, identity, clientId, name),
  });
  await using nobody = await RawClient.connect(node.port, { clientId: "nobody" });
  expect((await nobody.subscribe("$SYS/#")).codes).toEqual([reasonCodes.notAuthorized]);
  await using client = await RawClient.connect(node.port, { clientId: "c" });
  await client.subscribe("$SYS/broker/+/sent");
  await client.subscribe("$SYS/broker/uptime");
  await expect
    .poll(() => client.messages.filter((message) => message.topic === "$SYS/broker/uptime").length, soon)
    .toBeGreaterThan(2);
  expect(lastOf(client, "messages/sent")).toBeDefined();
  expect(lastOf(client, "bytes/sent")).toBeUndefined();
  expect(nobody.messages).toEqual([]);
  client.publish("$SYS/broker/uptime", "mine");
  expect((await client.acknowledged(1)).reasonCode).toBe(reasonCodes.topicNameInvalid);
});

test("load averages begin with the mean and move towards the rate, however long nobody asked", () => {
  const minuteMs = 60_000;
  const load = new LoadAverage();
  expect(load.update(0, 0)).toEqual({ "1min": 0, "5min": 0, "15min": 0 });
  expect(load.update(600, 10 * minuteMs)).toEqual({ "1min": 60, "5min": 60, "15min": 60 });
  const still = load.update(600, 11 * minuteMs);
  expect(still["1min"]).toBeCloseTo(60 * Math.exp(-1));
  expect(still["15min"]).toBeCloseTo(60 * Math.exp(-1 / 15));
  const long = load.update(600 + 1_000 * 120, 1_011 * minuteMs);
  for (const average of Object.values(long)) expect(average).toBeCloseTo(120);
});
