// Goal: protocol attacks that pure code can decide, one test per attack: the code they are answered with, and that
// nothing grows. M numbers name the attacks in the project's fault list.
import { describe, expect, test } from "vitest";
import { closeCode, Edge, sent } from "../test/edge.ts";
import {
  encodeAcknowledgement,
  encodeAuth,
  encodeConnect,
  encodePingreq,
  encodePublish,
  encodeSubscribe,
  type ProtocolVersion,
  packetTypes,
  userPropertiesMax,
  utf8,
} from "./index.ts";

const connect = (version: ProtocolVersion = 5): Uint8Array => encodeConnect({ version, clientId: "d1" });
const raw = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));

/** The code with which a version 5 session is closed after CONNECT. */
function codeAfterConnect(...packets: readonly Uint8Array[]): number | undefined {
  const edge = new Edge();
  edge.receive(connect());
  const actions = edge.receive(...packets);
  const code = closeCode(actions);
  // Whatever closes a version 5 connection is told to the client (§4.13).
  if (code !== undefined) expect(sent(actions).at(-1)?.startsWith("e0")).toBe(true);
  return code;
}

function publishTo(topic: Uint8Array): Uint8Array {
  return encodePublish({ version: 5, topic, payload: utf8("x"), qos: 1, packetId: 1 });
}

function publishWith(propertiesHex: string, topic = "a"): Uint8Array {
  const properties = raw(propertiesHex);
  const body = [0, topic.length, ...utf8(topic), 0, 1, properties.length, ...properties];
  return Uint8Array.of(0x32, body.length, ...body);
}

test("M1: an announced giant is refused from its length, before a buffer is made; a fifth length byte is malformed", () => {
  for (const chunks of [[raw("30ffffff7f")], [raw("30"), raw("ff"), raw("ffff"), raw("7f")]]) {
    const edge = new Edge();
    edge.receive(connect());
    const codes = chunks.map((chunk) => closeCode(edge.receive(chunk)));
    expect(codes.at(-1)).toBe(0x95);
    expect(edge.scanner.carryCapacityBytes).toBeLessThanOrEqual(256);
  }
  expect(codeAfterConnect(raw("30ffffffff01"))).toBe(0x81);
  expect(codeAfterConnect(raw("30ffffff"), raw("ff01"))).toBe(0x81);
});

test("M1: what is held grows with what arrived, not with what was announced", () => {
  const edge = new Edge();
  edge.receive(connect());
  edge.receive(raw("30ffff07"), new Uint8Array(100));
  expect(edge.scanner.carriedBytes).toBe(104);
  expect(edge.scanner.carryCapacityBytes).toBeLessThanOrEqual(256);
});

test("M3: a huge first packet that is not CONNECT is refused at its first byte, nothing is held", () => {
  const edge = new Edge();
  expect(closeCode(edge.receive(raw("30ff7f"), new Uint8Array(1_000)))).toBe(0x82);
  expect(edge.scanner.carryCapacityBytes).toBe(0);
  expect(closeCode(new Edge().receive(raw("10ffffff7f")))).toBe(0x95);
});

test("M4: anything before CONNECT, a second CONNECT and packets of a server are 0x82", () => {
  const subscribe = encodeSubscribe({ version: 5, packetId: 1, filters: [{ filter: "a" }] });
  for (const packet of [publishTo(utf8("a")), subscribe, encodePingreq(), raw("f000"), raw("0000")]) {
    expect(closeCode(new Edge().receive(packet))).toBe(0x82);
  }
  expect(codeAfterConnect(connect())).toBe(0x82);
  for (const packet of ["2003000000", "90040001000" + "0", "b00400010000", "d000"]) {
    expect(codeAfterConnect(raw(packet))).toBe(0x82);
  }
});

describe("M5: bad topics close with 0x90, bad filters with 0x8F", () => {
  test.each([
    ["empty", raw("")],
    ["NUL", raw("610062")],
    ["invalid UTF-8", raw("61ff")],
    ["overlong", raw("c0af")],
    ["surrogate", raw("eda080")],
    ["65,535 bytes", new Uint8Array(65_535).fill(0x61)],
    ["65 levels", utf8("/".repeat(64))],
    ["$SYS", utf8("$SYS/broker")],
    ["#", utf8("#/a")],
    ["+", utf8("a+")],
  ])("topic: %s", (_, topic) => {
    expect(codeAfterConnect(publishTo(topic))).toBe(0x90);
  });

  test.each(["$SHARE//", "$share/g/", "#/a", "a+", "", "a\0", "a/".repeat(64)])("filter: %j", (filter) => {
    expect(codeAfterConnect(encodeSubscribe({ version: 5, packetId: 1, filters: [{ filter }] }))).toBe(
      filter === "a\0" ? 0x81 : 0x8f,
    );
  });
});

test("M6: user properties are bounded; a property twice, or in the wrong packet, is 0x82; an unknown one 0x81", () => {
  const many = (count: number): Uint8Array => {
    const userProperties = Array.from({ length: count }, (): [string, string] => ["k", "v"]);
    const properties = { userProperties };
    return encodePublish({ version: 5, topic: utf8("a"), payload: utf8(""), qos: 0, properties });
  };
  expect(codeAfterConnect(many(userPropertiesMax))).toBeUndefined();
  expect(codeAfterConnect(many(10_000))).toBe(0x97);
  expect(codeAfterConnect(publishWith("01010101"))).toBe(0x82);
  expect(codeAfterConnect(publishWith("0102"))).toBe(0x82);
  expect(codeAfterConnect(publishWith("1100000001"))).toBe(0x82);
  expect(codeAfterConnect(publishWith("0b01"))).toBe(0x82);
  expect(codeAfterConnect(publishWith("7f"))).toBe(0x81);
  expect(codeAfterConnect(publishWith("0200"))).toBe(0x81);
});

test("M7: will QoS 3 is malformed, will flags without a will 0x82, a $ topic 0x90, a wrong will property 0x82", () => {
  const will = { topic: "w", payload: utf8("x"), qos: 0 as const, retain: false };
  const withFlags = (flags: number): Uint8Array => {
    const packet = encodeConnect({ version: 5, clientId: "d1", ...((flags & 4) !== 0 && { will }) });
    packet[9] = flags;
    return packet;
  };
  const refused = (packet: Uint8Array): number | undefined => {
    const edge = new Edge();
    const actions = edge.receive(packet);
    expect(edge.session.end()).toEqual({ will: undefined });
    return closeCode(actions);
  };
  expect(refused(withFlags(0x02 | 0x04 | 0x18))).toBe(0x81);
  expect(refused(withFlags(0x02 | 0x20))).toBe(0x82);
  expect(refused(withFlags(0x02 | 0x08))).toBe(0x82);
  expect(refused(withFlags(0x03))).toBe(0x81);
  const connectWith = (extra: object): Uint8Array =>
    encodeConnect({ version: 5, clientId: "d1", will: { ...will, ...extra } });
  expect(refused(connectWith({ topic: "$CONTROL/dynamic-security/v1" }))).toBe(0x90);
  expect(refused(connectWith({ topic: "a/#" }))).toBe(0x90);
  expect(refused(connectWith({ properties: { topicAlias: 1 } }))).toBe(0x82);
  expect(refused(connectWith({ properties: { sessionExpirySeconds: 1 } }))).toBe(0x82);
});

test("M9: QoS 2 packets for unknown identifiers, PUBREC for QoS 1, PUBACK for nothing, identifier 0", () => {
  const acknowledge = (type: number, packetId: number): Uint8Array =>
    encodeAcknowledgement({ version: 5, type, packetId });
  const edge = new Edge();
  edge.receive(connect());
  expect(sent(edge.receive(acknowledge(packetTypes.pubrel, 9)))).toEqual(["7003000992"]);
  expect(sent(edge.receive(acknowledge(packetTypes.pubrec, 9)))).toEqual(["6203000992"]);
  expect(edge.receive(acknowledge(packetTypes.pubcomp, 9), acknowledge(packetTypes.puback, 9))).toEqual([]);
  expect(edge.session.outbox.offer("m", 10, 1)).toBe(1);
  expect(closeCode(edge.receive(acknowledge(packetTypes.pubrec, 1)))).toBe(0x82);
  for (const [type, code] of [
    [packetTypes.puback, 0x82],
    [packetTypes.pubcomp, 0x82],
  ] as const) {
    const exact = new Edge();
    exact.receive(connect());
    expect(exact.session.outbox.offer("m", 10, 2)).toBe(1);
    expect(closeCode(exact.receive(acknowledge(type, 1)))).toBe(code);
  }
  for (const type of [4, 5, 6, 7]) expect(codeAfterConnect(acknowledge(type, 0))).toBe(0x82);
  expect(codeAfterConnect(encodeSubscribe({ version: 5, packetId: 0, filters: [{ filter: "a" }] }))).toBe(0x82);
  expect(codeAfterConnect(raw("3206000161000000"))).toBe(0x82);
  const old = new Edge();
  old.receive(connect(4));
  expect(sent(old.receive(acknowledge(packetTypes.pubrel, 9)))).toEqual(["70020009"]);
});

test("[v5 4.3.3-10] M8: a QoS 2 message that is sent again and again before PUBREL is one message", () => {
  const edge = new Edge({ receiveMaximum: 2 });
  const again = encodePublish({
    version: 5,
    topic: utf8("a"),
    payload: utf8("x"),
    qos: 2,
    packetId: 5,
    duplicate: true,
  });
  edge.receive(connect());
  for (let count = 0; count < 10_000; count += 1) edge.receive(again);
  expect([edge.session.state, edge.published.length, edge.session.unacknowledgedCount]).toEqual(["connected", 1, 1]);
});

test("M19: AUTH without a method in CONNECT, with another method, and without end", () => {
  const auth = (code: number, authenticationMethod: string): Uint8Array => encodeAuth(code, { authenticationMethod });
  expect(codeAfterConnect(auth(0x18, "M"))).toBe(0x82);
  expect(codeAfterConnect(raw("f000"))).toBe(0x82);
  expect(codeAfterConnect(raw("f00101"))).toBe(0x81);
  const begin = (): Edge => {
    const edge = new Edge({ extendedAuthentication: true, authPacketsMax: 3 });
    edge.receive(encodeConnect({ version: 5, clientId: "d", properties: { authenticationMethod: "M" } }));
    return edge;
  };
  expect(closeCode(begin().receive(auth(0x19, "other")))).toBe(0x8c);
  const endless = begin();
  for (let round = 0; round < 3; round += 1) expect(closeCode(endless.receive(auth(0x19, "M")))).toBeUndefined();
  expect(closeCode(endless.receive(auth(0x19, "M")))).toBe(0x97);
});

test("[v5 3.3.4-7] M10: one more than Receive Maximum in flight is 0x93; 3.1.1 has no such rule and is told to wait", () => {
  const edge = new Edge({ receiveMaximum: 2 });
  edge.receive(connect());
  const packet = publishTo(utf8("a"));
  expect(closeCode(edge.receive(packet, packet))).toBeUndefined();
  edge.session.acknowledged(1);
  expect(closeCode(edge.receive(packet))).toBeUndefined();
  expect(closeCode(edge.receive(packet))).toBe(0x93);
  const old = new Edge({ receiveMaximum: 2 });
  const oldPacket = encodePublish({ version: 4, topic: utf8("a"), payload: utf8(""), qos: 1, packetId: 1 });
  expect(closeCode(old.receive(connect(4), oldPacket, oldPacket, oldPacket))).toBeUndefined();
  expect(old.session.isWindowFull).toBe(true);
});

test("M11: topic alias 0, above the maximum (32), or undefined is 0x94", () => {
  expect(codeAfterConnect(publishWith("230000"))).toBe(0x94);
  expect(codeAfterConnect(publishWith("230020"))).toBeUndefined();
  expect(codeAfterConnect(publishWith("230021"))).toBe(0x94);
  expect(codeAfterConnect(publishWith("230001", ""))).toBe(0x94);
  expect(codeAfterConnect(publishWith("23ffff", ""))).toBe(0x94);
});
