// Goal: statements of both specifications at the gateway's socket. [v4 …] names statements of MQTT 3.1.1, [v5 …] those of 5.0;
// docs/reference/mqtt-conformance.md is made from these tags. Method: raw bytes, and nothing of our own on the client's side but the codec.
import {
  encodeConnect,
  encodeDisconnect,
  encodePingreq,
  encodePublish,
  encodeSubscribe,
  encodeUnsubscribe,
  type ProtocolVersion,
  packetTypes,
  utf8,
} from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const { connack, puback, pubrec, pubrel, pubcomp, suback, unsuback, pingresp, disconnect } = packetTypes;
/** The packets of a connection on which these bytes are sent after CONNECT, once the server has closed it. */
const closedBy = async (port: number, version: ProtocolVersion, bytes: Uint8Array): Promise<RawClient> => {
  const client = await RawClient.connect(port, { clientId: "bad", version });
  client.send(bytes);
  await client.closed();
  return client;
};

describe.each([
  ["1.5.3-1", "1.5.4-1", "a surrogate in a string", "30 05 0003 eda080", "30 06 0003 eda080 00"],
  ["1.5.3-2, 4.7.3-2", "1.5.4-2, 4.7.3-2", "U+0000 in a string", "30 05 0003 610062", "30 06 0003 610062 00"],
  ["2.2.2-2", "2.1.3-1", "reserved flags", "c1 00", "c1 00"],
  ["2.3.1-1", "2.2.1-3", "packet identifier 0", "32 05 0001 61 0000", "32 06 0001 61 0000 00"],
  [
    "3.1.0-2",
    "3.1.0-2",
    "a second CONNECT",
    "10 0d 0004 4d515454 04 02 003c 0001 61",
    "10 0e 0004 4d515454 05 02 003c 00 0001 61",
  ],
  ["3.3.1-4", "3.3.1-4", "QoS 3", "36 05 0001 61 0001", "36 06 0001 61 0001 00"],
  ["3.3.1-2", "3.3.1-2", "DUP with QoS 0", "38 03 0001 61", "38 04 0001 61 00"],
  ["3.3.2-2, 4.7.1-1", "3.3.2-2, 4.7.0-1", "a wildcard in a topic name", "30 05 0003 612f23", "30 06 0003 612f23 00"],
  ["4.7.3-1", "4.7.3-1", "an empty topic name", "30 02 0000", "30 03 0000 00"],
  ["3.6.1-1", "3.6.1-1", "wrong flags of PUBREL", "60 02 0001", "60 02 0001"],
  ["3.8.1-1", "3.8.1-1", "wrong flags of SUBSCRIBE", "80 06 0001 0001 61 00", "80 07 0001 00 0001 61 00"],
  ["3.8.3-3", "3.8.3-2", "SUBSCRIBE without a filter", "82 02 0001", "82 03 0001 00"],
  ["3.8.3-4", "3.8.3-5", "reserved bits of subscription options", "82 06 0001 0001 61 04", "82 07 0001 00 0001 61 c0"],
  ["3.8.3-1", "3.8.3-1", "a filter that is not UTF-8", "82 06 0001 0001 ff 00", "82 07 0001 00 0001 ff 00"],
  ["4.7.1-3", "4.7.1-2", "+ inside a level", "82 07 0001 0002 612b 00", "82 08 0001 00 0002 612b 00"],
  ["4.7.1-2", "4.7.1-1", "# before the end", "82 08 0001 0003 232f61 00", "82 09 0001 00 0003 232f61 00"],
  ["3.10.1-1", "3.10.1-1", "wrong flags of UNSUBSCRIBE", "a0 05 0001 0001 61", "a0 06 0001 00 0001 61"],
  ["3.10.3-2", "3.10.3-2", "UNSUBSCRIBE without a filter", "a2 02 0001", "a2 03 0001 00"],
  ["3.10.3-1", "3.10.3-1", "a filter to unsubscribe that is not UTF-8", "a2 05 0001 0001 ff", "a2 06 0001 00 0001 ff"],
  ["2.2.2-1, 3.14.1-1", "3.14.1-1", "flags of DISCONNECT", "e1 00", "e1 00"],
  ["4.8.0-1", "4.13.1-1, 4.13.2-1, 3.1.4-1", "a CONNACK from a client", "20 02 0000", "20 03 0000 00"],
])("[v4 %s] [v5 %s] %s closes the connection", (_old, _new, _name, old, current) => {
  test.each([
    [4, old],
    [5, current],
  ] as const)("version %i", async (version, bytes) => {
    await using node = await startTestNode();
    const client = await closedBy(node.port, version, hex(bytes));
    const last = client.packets.at(-1);
    if (version === 5) {
      expect(last?.type).toBe(disconnect);
      expect(last?.reasonCode).toBeGreaterThanOrEqual(0x80);
    } else expect(last?.type).toBe(connack);
  });
});

test.each([
  ["[v5 1.5.7-1] a user property that is not UTF-8", "30 0a 0001 61 06 26 0001 ff 0000"],
  ["[v5 1.5.5-1] a Remaining Length of five bytes", "30 80 80 80 80 01"],
  ["[v5 3.3.2-8] topic alias 0", "30 07 0001 61 03 23 0000"],
  ["[v5 3.3.2-9, 3.2.2-17] a topic alias above the maximum", "30 07 0001 61 03 23 ffff"],
  ["[v5 3.3.2-14] a response topic with a wildcard", "30 08 0001 61 04 08 0001 2b"],
  ["[v5 3.3.2-13] a response topic that is not UTF-8", "30 08 0001 61 04 08 0001 ff"],
  ["[v5 3.3.2-19] a content type that is not UTF-8", "30 08 0001 61 04 03 0001 ff"],
  ["[v5 3.3.4-6] a subscription identifier from a client", "30 06 0001 61 02 0b 01"],
  ["[v5 3.8.3-4] No Local on a shared subscription", "82 10 0001 00 000a 2473686172652f672f61 05"],
  ["[v5 4.8.2-1] a share name that is empty", "82 0e 0001 00 0008 2473686172652f2f 01"],
  ["[v5 4.8.2-2] a share name without a filter", "82 0e 0001 00 0008 2473686172652f67 01"],
  ["[v5 3.15.1-1] flags of AUTH", "f1 00"],
  ["[v5 3.15.2-1] a reason code that AUTH does not have", "f0 02 01 00"],
  ["[v5 4.12.0-7] AUTH without a method in CONNECT", "f0 06 19 04 15 0001 4d"],
  ["[v5 3.4.2-1] a reason code that PUBACK does not have", "40 03 0001 01"],
  ["[v5 3.5.2-1] a reason code that PUBREC does not have", "50 03 0001 92"],
  ["[v5 3.6.2-1] a reason code that PUBREL does not have", "62 03 0001 80"],
  ["[v5 3.7.2-1] a reason code that PUBCOMP does not have", "70 03 0001 80"],
  ["[v5 3.14.2-1] a reason code that DISCONNECT does not have", "e0 01 01"],
])("%s closes the connection", async (_name, bytes) => {
  await using node = await startTestNode();
  const client = await closedBy(node.port, 5, hex(bytes));
  expect(client.packets.at(-1)).toMatchObject({ type: disconnect });
});

describe("before CONNACK", () => {
  test.each([
    ["[v4 3.1.0-1] [v5 3.1.0-1] PUBLISH comes first", "30 03 0001 61"],
    ["[v4 3.1.2-1] [v5 3.1.2-1] another protocol", "10 0d 0004 4d515458 04 02 003c 0001 61"],
    ["[v4 3.1.2-3] the reserved flag", "10 0d 0004 4d515454 04 03 003c 0001 61"],
    ["[v5 3.1.2-3] the reserved flag", "10 0e 0004 4d515454 05 03 003c 00 0001 61"],
    ["[v4 3.1.2-11, 3.1.2-13] will QoS without a will", "10 0d 0004 4d515454 04 0a 003c 0001 61"],
    ["[v5 3.1.2-11] will QoS without a will", "10 0e 0004 4d515454 05 0a 003c 00 0001 61"],
    ["[v4 3.1.2-15] will retain without a will", "10 0d 0004 4d515454 04 22 003c 0001 61"],
    ["[v5 3.1.2-13] will retain without a will", "10 0e 0004 4d515454 05 22 003c 00 0001 61"],
    ["[v4 3.1.2-14] will QoS 3", "10 13 0004 4d515454 04 1e 003c 0001 61 0001 77 0001 78"],
    ["[v5 3.1.2-12] will QoS 3", "10 15 0004 4d515454 05 1e 003c 00 0001 61 00 0001 77 0001 78"],
    ["[v4 3.1.2-9] a will that is not there", "10 0d 0004 4d515454 04 06 003c 0001 61"],
    ["[v5 3.1.2-9] a will that is not there", "10 0e 0004 4d515454 05 06 003c 00 0001 61"],
    ["[v4 3.1.2-19] a user name that is not there", "10 0d 0004 4d515454 04 82 003c 0001 61"],
    ["[v5 3.1.2-17] a user name that is not there", "10 0e 0004 4d515454 05 82 003c 00 0001 61"],
    ["[v4 3.1.2-18, 3.1.2-20, 3.1.3-1] more than the flags announce", "10 10 0004 4d515454 04 02 003c 0001 61 0001 75"],
    [
      "[v5 3.1.2-16, 3.1.2-18, 3.1.3-1] more than the flags announce",
      "10 11 0004 4d515454 05 02 003c 00 0001 61 0001 75",
    ],
    ["[v4 3.1.2-21] a password that is not there", "10 10 0004 4d515454 04 c2 003c 0001 61 0001 75"],
    ["[v5 3.1.2-19] a password that is not there", "10 0e 0004 4d515454 05 42 003c 00 0001 61"],
    ["[v4 3.1.2-22] a password without a user name", "10 10 0004 4d515454 04 42 003c 0001 61 0001 70"],
    ["[v4 3.1.3-3] no client id", "10 0a 0004 4d515454 04 02 003c"],
    ["[v5 3.1.3-3] no client id", "10 0b 0004 4d515454 05 02 003c 00"],
    ["[v4 3.1.3-4] a client id that is not UTF-8", "10 0d 0004 4d515454 04 02 003c 0001 ff"],
    ["[v5 3.1.3-4] a client id that is not UTF-8", "10 0e 0004 4d515454 05 02 003c 00 0001 ff"],
    ["[v4 3.1.3-10] a will topic that is not UTF-8", "10 13 0004 4d515454 04 06 003c 0001 61 0001 ff 0001 78"],
    ["[v5 3.1.3-11] a will topic that is not UTF-8", "10 15 0004 4d515454 05 06 003c 00 0001 61 00 0001 ff 0001 78"],
    ["[v4 3.1.3-11] a user name that is not UTF-8", "10 10 0004 4d515454 04 82 003c 0001 61 0001 ff"],
    ["[v5 3.1.3-12] a user name that is not UTF-8", "10 11 0004 4d515454 05 82 003c 00 0001 61 0001 ff"],
  ])(
    "%s: closed, in 3.1.1 without CONNACK [v4 3.1.4-1, 3.2.2-6] [v5 3.1.4-2, 3.14.0-1, 3.2.2-8]",
    async (_name, bytes) => {
      await using node = await startTestNode();
      const version = bytes.includes("4d515454 05") ? 5 : 4;
      await using client = await RawClient.open(node.port, version);
      client.send(hex(bytes));
      await client.closed();
      expect(client.packets.length).toBeLessThanOrEqual(version === 5 ? 1 : 0);
      for (const packet of client.packets) expect(packet).toMatchObject({ type: connack, sessionPresent: false });
    },
  );

  test("[v4 3.1.2-2] [v5 3.1.2-2] another version is told so and closed", async () => {
    await using node = await startTestNode();
    await using old = await RawClient.open(node.port, 4);
    old.send(hex("10 0d 0004 4d515454 03 02 003c 0001 61"));
    await old.closed();
    expect(old.packets).toMatchObject([{ type: connack, reasonCode: 1, sessionPresent: false }]);
    await using later = await RawClient.open(node.port, 5);
    later.send(hex("10 0e 0004 4d515454 06 02 003c 00 0001 61"));
    await later.closed();
    expect(later.packets).toMatchObject([{ type: connack, reasonCode: 0x84 }]);
  });
});

describe.each([4, 5] as const)("version %i", (version) => {
  const connect = (port: number, clientId: string, rest = {}) =>
    RawClient.connect(port, { clientId, version, ...rest });
  const lasting = { clean: false, properties: { sessionExpirySeconds: 60 } };

  test("[v4 3.1.4-4, 3.2.0-1, 3.1.3-5, 3.2.2-3, 3.1.2-4, 3.1.3-2] [v5 3.1.4-5, 3.2.0-1, 3.2.0-2, 3.2.2-1, 3.2.2-3, 3.1.3-5, 3.1.3-2, 3.1.2-5, 3.1.2-6] one CONNACK, first, with success and whether there was a session", async () => {
    await using node = await startTestNode();
    const clientId = "0123456789abcdefghijXYZ";
    for (const sessionPresent of [false, true]) {
      await using client = await connect(node.port, clientId, lasting);
      client.send(encodePingreq());
      await client.until(({ type }) => type === pingresp);
      expect(client.packets).toMatchObject([{ type: connack, reasonCode: 0, sessionPresent }, { type: pingresp }]);
    }
  });

  test("[v4 3.1.2-6, 3.1.4-3, 3.2.2-1, 3.2.2-2] [v5 3.1.2-4, 3.1.4-4, 3.2.2-2] a clean start is never told of a session", async () => {
    await using node = await startTestNode();
    await (await connect(node.port, "c", lasting))[Symbol.asyncDispose]();
    await using client = await connect(node.port, "c", { ...lasting, clean: true });
    expect(client.packets[0]).toMatchObject({ sessionPresent: false });
  });

  test("[v4 3.1.3-6, 3.1.3-7, 3.1.3-8] [v5 3.1.3-6, 3.1.3-7, 3.2.2-16] a client without an id gets a unique one", async () => {
    await using node = await startTestNode();
    await using one = await connect(node.port, "");
    await using two = await connect(node.port, "");
    for (const client of [one, two]) {
      client.send(encodePingreq());
      await client.until(({ type }) => type === pingresp);
    }
    const ids = [one, two].map(({ packets }) => packets[0]?.properties?.assignedClientIdentifier);
    if (version === 5) expect(new Set([...ids, undefined]).size).toBe(3);
    else {
      await using none = await RawClient.begin(node.port, { clientId: "", version, clean: false });
      await none.closed();
      expect(none.packets).toMatchObject([{ type: connack, reasonCode: 2, sessionPresent: false }]);
    }
  });

  test("[v4 3.1.3-9, 3.1.4-5, 3.2.2-4, 3.2.2-5] [v5 3.1.3-8, 3.1.4-6, 3.2.2-6, 3.2.2-7] a refused CONNECT: the code, no session, the end, and nothing behind it counts", async () => {
    await using node = await startTestNode({ authenticate: () => ({ reasonCode: 0x85, reason: "no" }) });
    await using client = await RawClient.open(node.port, version);
    const publish = encodePublish({ version, topic: utf8("raw/x"), payload: utf8("x"), qos: 0 });
    client.send(Buffer.concat([encodeConnect({ version, clientId: "c" }), publish]));
    await client.closed();
    expect(client.packets).toMatchObject([
      { type: connack, reasonCode: version === 4 ? 2 : 0x85, sessionPresent: false },
    ]);
    expect(await node.events("raw")).toEqual([]);
  });

  test("[v4 3.1.2-8, 3.1.2-10, 3.1.2-12, 3.1.2-16, 3.1.2-17, 3.14.4-3] [v5 3.1.2-7, 3.1.2-8, 3.1.2-10, 3.1.2-14, 3.1.2-15, 3.14.4-3] wills: after a lost connection, retained or not, and not after DISCONNECT", async () => {
    await using node = await startTestNode();
    await using seer = await connect(node.port, "seer");
    await seer.subscribe("wills/#", 1);
    const will = (name: string, retain: boolean) => ({
      will: { topic: `wills/${name}`, payload: utf8(name), qos: 1 as const, retain },
    });
    await (await connect(node.port, "a", will("plain", false)))[Symbol.asyncDispose]();
    await seer.received(1);
    await (await connect(node.port, "b", will("kept", true)))[Symbol.asyncDispose]();
    await seer.received(2);
    await using regular = await connect(node.port, "c", will("never", true));
    regular.send(encodeDisconnect(version));
    await regular.closed();
    await (await connect(node.port, "d"))[Symbol.asyncDispose]();
    await using late = await connect(node.port, "late");
    await late.subscribe("wills/#", 1);
    expect((await late.received(1)).map(({ payload, retain }) => [payload, retain])).toEqual([["kept", true]]);
    expect(seer.messages.map(({ payload }) => payload)).toEqual(["plain", "kept"]);
  });

  test("[v4 3.1.2-7, 3.3.1-5, 3.3.1-6, 3.3.1-7, 3.3.1-8, 3.3.1-9, 3.3.1-10, 3.3.1-11, 3.3.1-12, 3.8.4-3] [v5 3.3.1-5, 3.3.1-6, 3.3.1-7, 3.3.1-8, 3.3.1-9, 3.3.1-12, 3.8.4-3, 3.8.4-4] retained messages: kept beyond the session, replaced, removed, marked only when they are old, sent again to a renewed subscription", async () => {
    await using node = await startTestNode();
    await using seer = await connect(node.port, "seer");
    await seer.subscribe("state/#", 1);
    {
      await using publisher = await connect(node.port, "p");
      publisher.publish("state/a", "1", { retain: true, packetId: 1 });
      publisher.publish("state/a", "2", { retain: true, qos: 0 });
      publisher.publish("state/a", "3", { packetId: 2 });
      publisher.publish("state/b", "1", { retain: true, packetId: 3 });
      publisher.publish("state/b", "", { retain: true, packetId: 4 });
      await publisher.acknowledged(4);
    }
    expect((await seer.received(5)).map(({ payload, retain }) => [payload, retain])).toEqual(
      ["1", "2", "3", "1", ""].map((payload) => [payload, false]),
    );
    await using late = await connect(node.port, "late");
    await late.subscribe("state/#", 1);
    await late.received(1);
    await late.subscribe("state/#", 0);
    expect((await late.received(2)).map(({ payload, retain, qos }) => [payload, retain, qos])).toEqual([
      ["2", true, 0],
      ["2", true, 0],
    ]);
  });

  test("[v4 2.3.1-7, 3.8.4-1, 3.8.4-2, 3.8.4-4, 3.8.4-5, 3.8.4-6, 3.9.3-1, 3.9.3-2, 3.8.3-2] [v5 2.2.1-6, 3.8.4-1, 3.8.4-2, 3.8.4-5, 3.8.4-6, 3.8.4-7, 3.9.3-1, 3.9.3-2, 2.2.2-1] SUBACK has the identifier of SUBSCRIBE and a code for each filter in its place", async () => {
    await using node = await startTestNode({
      authorize: (_action, _identity, _client, name) => (name === "no" ? "no" : undefined),
    });
    await using client = await connect(node.port, "c");
    const filters = [
      { filter: "a/+", qos: 2 as const },
      { filter: "no", qos: 1 as const },
      { filter: "#", qos: 0 as const },
    ];
    client.send(encodeSubscribe({ version, packetId: 0x1234, filters }));
    const answer = await client.until(({ type }) => type === suback);
    expect(answer).toMatchObject({ packetId: 0x1234, codes: [2, version === 4 ? 0x80 : 0x87, 0] });
  });

  test("[v4 3.10.4-1, 3.10.4-2, 3.10.4-3, 3.10.4-4, 3.10.4-5, 3.10.4-6] [v5 3.10.4-1, 3.10.4-2, 3.10.4-3, 3.10.4-4, 3.10.4-5, 3.10.4-6, 3.11.3-1, 3.11.3-2] UNSUBSCRIBE ends what is named exactly, is answered always, and leaves what is in flight", async () => {
    await using node = await startTestNode();
    await using client = await connect(node.port, "c");
    await client.subscribe("raw/+", 1);
    await client.subscribe("raw/x", 1);
    await using publisher = await connect(node.port, "p");
    publisher.publish("raw/y", "in flight", { packetId: 1 });
    await client.received(1);
    client.send(encodeUnsubscribe({ version, packetId: 7, filters: ["raw/#", "raw/+"] }));
    const answer = await client.until(({ type }) => type === unsuback);
    expect(answer).toMatchObject({ packetId: 7, codes: version === 5 ? [0x11, 0] : [] });
    publisher.publish("raw/y", "no more", { packetId: 2 });
    publisher.publish("raw/x", "still", { packetId: 3 });
    client.acknowledge(puback, 1);
    expect((await client.received(2)).map(({ payload }) => payload)).toEqual(["in flight", "still"]);
  });

  test("[v4 3.3.5-1, 4.3.1-1, 3.3.1-3] [v5 3.3.4-2, 3.8.4-8, 4.3.1-1, 3.3.1-3, 2.2.1-2] overlapping subscriptions: one copy at the highest QoS, no higher than that of the message, without the publisher's DUP", async () => {
    await using node = await startTestNode();
    await using client = await connect(node.port, "c");
    await client.subscribe("raw/+", 2);
    await client.subscribe("raw/#", 0);
    await using publisher = await connect(node.port, "p");
    publisher.publish("raw/x", "0", { qos: 0 });
    publisher.publish("raw/x", "1", { qos: 1, packetId: 1, duplicate: true });
    publisher.publish("raw/x", "2", { qos: 2, packetId: 2 });
    expect((await client.received(3)).map(({ payload, qos, duplicate }) => [payload, qos, duplicate])).toEqual([
      ["0", 0, false],
      ["1", 1, false],
      ["2", 2, false],
    ]);
  });

  test("[v4 2.3.1-4, 2.3.1-5, 2.3.1-6, 3.3.4-1, 4.3.2-1, 4.3.2-2, 4.3.3-1, 4.3.3-2] [v5 2.2.1-4, 2.2.1-5, 3.3.4-1, 4.3.2-1, 4.3.2-2, 4.3.2-4, 4.3.2-5, 4.3.3-1, 4.3.3-2, 4.3.3-3, 4.3.3-4, 4.3.3-8, 4.3.3-11, 4.3.3-12] each QoS is answered as it must be, identifiers are echoed, unused ones are chosen and free afterwards", async () => {
    await using node = await startTestNode();
    await using client = await connect(node.port, "c");
    await client.subscribe("raw/#", 2);
    client.publish("raw/x", "1", { qos: 1, packetId: 77 });
    client.publish("raw/x", "2", { qos: 2, packetId: 78 });
    await client.until(({ type, packetId }) => type === puback && packetId === 77);
    await client.until(({ type, packetId }) => type === pubrec && packetId === 78);
    client.acknowledge(pubrel, 78);
    await client.until(({ type, packetId }) => type === pubcomp && packetId === 78);
    const [one, two] = await client.received(2);
    expect([one?.packetId, two?.packetId].every((id) => id !== undefined && id > 0)).toBe(true);
    expect(one?.packetId).not.toBe(two?.packetId);
    client.acknowledge(pubrec, two?.packetId ?? 0);
    await client.until(({ type, packetId }) => type === pubrel && packetId === two?.packetId);
    client.acknowledge(pubcomp, two?.packetId ?? 0);
    client.publish("raw/x", "3", { qos: 1, packetId: 77 });
    client.publish("raw/x", "4", { qos: 2, packetId: 78 });
    expect((await client.received(4)).map(({ payload }) => payload)).toEqual(["1", "2", "3", "4"]);
  });

  test("[v4 4.6.0-5, 4.6.0-6, 4.5.0-1, 3.3.2-3] [v5 4.6.0-5, 4.6.0-6, 4.5.0-1, 3.3.2-3, 4.2.0-1] messages reach every matching subscriber in the order of their coming", async () => {
    await using node = await startTestNode();
    await using client = await connect(node.port, "c");
    await using other = await connect(node.port, "o");
    await client.subscribe("raw/+", 1);
    await other.subscribe("+/x", 1);
    await using publisher = await connect(node.port, "p");
    const payloads = Array.from({ length: 200 }, (_, index) => String(index));
    for (const [index, payload] of payloads.entries()) publisher.publish("raw/x", payload, { packetId: index + 1 });
    expect((await client.received(200)).map(({ payload }) => payload)).toEqual(payloads);
    expect((await other.received(200)).map(({ payload, topic }) => [payload, topic])).toEqual(
      payloads.map((payload) => [payload, "raw/x"]),
    );
  });

  test("[v4 3.12.4-1] [v5 3.12.4-1] PINGREQ is answered", async () => {
    await using node = await startTestNode();
    await using client = await connect(node.port, "c");
    client.send(encodePingreq());
    await client.until(({ type }) => type === pingresp);
  });

  test("[v4 3.14.4-1, 3.14.4-2] [v5 3.14.4-1, 3.14.4-2] after DISCONNECT nothing is taken and the connection ends", async () => {
    await using node = await startTestNode();
    await using client = await connect(node.port, "c");
    const publish = encodePublish({ version, topic: utf8("raw/x"), payload: utf8("late"), qos: 0 });
    client.send(Buffer.concat([encodeDisconnect(version), publish]));
    await client.closed();
    expect(client.packets.slice(1)).toEqual([]);
    expect(await node.events("raw")).toEqual([]);
  });

  test("[v4 1.5.3-3, 3.3.2-1, 4.7.3-4] [v5 1.5.4-3, 3.3.2-1, 4.7.3-4] topics are taken as they are: no trimming, no case, a byte order mark stays", async () => {
    await using node = await startTestNode();
    await using client = await connect(node.port, "c");
    await client.subscribe("raw/\ufeffA ", 1);
    await using publisher = await connect(node.port, "p");
    for (const [index, name] of ["raw/A ", "raw/\ufeffa ", "raw/\ufeffA", "raw/\ufeffA "].entries())
      publisher.publish(name, name, { packetId: index + 1 });
    await publisher.acknowledged(4);
    expect((await client.received(1)).map(({ topic }) => topic)).toEqual(["raw/\ufeffA "]);
  });

  test("[v4 3.3.5-2] a PUBLISH that is not permitted is answered or closed, never delivered", async () => {
    await using node = await startTestNode();
    await using client = await connect(node.port, "c");
    await client.subscribe("devices/#", 1);
    client.publish("devices/x/commands/fan", "on", { packetId: 1 });
    if (version === 4) await client.closed();
    else expect(await client.acknowledged(1)).toMatchObject({ reasonCode: 0x87 });
    expect(client.messages).toEqual([]);
  });
});

describe("version 5", () => {
  test("[v5 3.3.1-10, 3.3.1-11, 3.3.1-13, 3.8.3-3] subscription options: retain handling, retain as published, no local", async () => {
    await using node = await startTestNode();
    await using publisher = await RawClient.connect(node.port, { clientId: "p" });
    publisher.publish("state/a", "old", { retain: true, packetId: 1 });
    await publisher.acknowledged(1);
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    await client.subscribe("state/#", 1, { retainHandling: 2, retainAsPublished: true, noLocal: true });
    await client.subscribe("state/#", 1, { retainHandling: 1, retainAsPublished: true, noLocal: true });
    client.publish("state/a", "own", { packetId: 5 });
    await client.acknowledged(5);
    publisher.publish("state/a", "new", { retain: true, packetId: 2 });
    publisher.publish("state/a", "plain", { packetId: 3 });
    expect((await client.received(2)).map(({ payload, retain }) => [payload, retain])).toEqual([
      ["new", true],
      ["plain", false],
    ]);
    await client.subscribe("state/+", 1, { retainHandling: 1 });
    expect((await client.received(3)).at(-1)).toMatchObject({ payload: "new", retain: true });
  });

  test("[v5 3.3.2-4, 3.3.2-15, 3.3.2-16, 3.3.2-17, 3.3.2-18, 3.3.2-20, 4.10.0-1, 4.10.0-2, 4.10.0-3, 4.10.0-4, 3.1.3-10] properties pass unaltered and in order, live, retained, queued and in a will", async () => {
    await using node = await startTestNode();
    const properties = {
      payloadFormat: 1 as const,
      contentType: "text/plain",
      responseTopic: "answers/1",
      correlationData: new Uint8Array([1, 2, 0, 255]),
      userProperties: [
        ["b", "2"],
        ["a", "1"],
        ["b", "3"],
      ] as [string, string][],
    };
    const lasting = { clientId: "away", clean: false, properties: { sessionExpirySeconds: 60 } };
    {
      await using away = await RawClient.connect(node.port, lasting);
      await away.subscribe("state/#", 1);
    }
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    await client.subscribe("state/#", 1);
    const will = { topic: "state/will", payload: utf8("w"), qos: 1 as const, retain: false, properties };
    await using publisher = await RawClient.connect(node.port, { clientId: "p", will });
    publisher.publish("state/a", "x", { retain: true, packetId: 1, properties });
    await publisher.acknowledged(1);
    await publisher[Symbol.asyncDispose]();
    for (const message of await client.received(2)) expect(message.properties).toEqual(properties);
    await client.subscribe("state/a", 1);
    expect((await client.received(3)).at(-1)?.properties).toEqual(properties);
    await using away = await RawClient.connect(node.port, lasting);
    for (const message of await away.received(2)) expect(message.properties).toEqual(properties);
  });

  test("[v5 3.3.4-3, 3.3.4-4] subscription identifiers of all matching subscriptions come with the one copy", async () => {
    await using node = await startTestNode();
    await using client = await RawClient.connect(node.port, { clientId: "c" });
    for (const [id, filter] of [
      [7, "raw/+"],
      [300_000, "raw/x"],
    ] as const) {
      client.send(
        encodeSubscribe({
          version: 5,
          packetId: 1,
          filters: [{ filter, qos: 1 }],
          properties: { subscriptionIdentifiers: [id] },
        }),
      );
    }
    await expect.poll(() => client.packets.filter(({ type }) => type === suback).length).toBe(2);
    client.publish("raw/x", "x", { packetId: 1 });
    const [message] = await client.received(1);
    expect(message?.properties?.subscriptionIdentifiers?.sort()).toEqual([300_000, 7]);
  });

  test("[v5 3.1.2-24, 3.1.2-25, 3.4.2-2, 3.14.2-3, 3.14.2-2, 3.2.2-19] nothing larger than the client takes is sent: messages are passed over, reasons are left out", async () => {
    await using node = await startTestNode();
    await using client = await RawClient.connect(node.port, {
      clientId: "c",
      properties: { maximumPacketSize: 60, receiveMaximum: 1 },
    });
    await client.subscribe("raw/#", 1);
    client.publish("raw/x", "x".repeat(100), { packetId: 1 });
    client.publish("raw/x", "small", { packetId: 2 });
    expect((await client.received(1)).map(({ payload }) => payload)).toEqual(["small"]);
    await using tiny = await RawClient.connect(node.port, {
      clientId: "t",
      properties: { maximumPacketSize: 12 },
    }).catch(() => RawClient.begin(node.port, { clientId: "t", properties: { maximumPacketSize: 12 } }));
    tiny.publish("devices/x/commands/y", "x", { packetId: 9 });
    expect(await tiny.acknowledged(9)).toMatchObject({ reasonCode: 0x87 });
    tiny.send(hex("c1 00"));
    await tiny.closed();
    expect(tiny.packets.at(-1)).toMatchObject({ type: disconnect, reasonCode: 0x81 });
  });

  test("[v5 3.2.2-15] a packet larger than the server takes closes the connection with 0x95", async () => {
    await using node = await startTestNode({ limits: { packetBytesMax: 1_000 } });
    const client = await closedBy(node.port, 5, hex("30 ff ff ff 7f"));
    expect(client.packets.at(-1)).toMatchObject({ type: disconnect, reasonCode: 0x95 });
  });

  test("[v5 3.3.4-10, 4.9.0-1, 4.9.0-2, 4.9.0-3] a full window holds back messages only", async () => {
    await using node = await startTestNode();
    await using client = await RawClient.connect(node.port, { clientId: "c", properties: { receiveMaximum: 1 } });
    await client.subscribe("raw/#", 1);
    for (const packetId of [1, 2]) client.publish("raw/x", `${packetId}`, { packetId });
    await client.acknowledged(2);
    client.send(encodePingreq());
    await client.until(({ type }) => type === pingresp);
    expect(client.messages).toHaveLength(1);
    client.acknowledge(puback, 1);
    await client.received(2);
  });

  test("[v5 4.11.0-1] another server is named with its code", async () => {
    await using node = await startTestNode({
      authenticate: ({ clientId }) =>
        clientId === "moved"
          ? { reasonCode: 0x9d, reason: "moved", serverReference: "b.example" }
          : { identity: undefined },
    });
    await using moved = await RawClient.begin(node.port, { clientId: "moved" });
    await moved.closed();
    expect(moved.packets).toMatchObject([{ reasonCode: 0x9d, properties: { serverReference: "b.example" } }]);
  });
});
