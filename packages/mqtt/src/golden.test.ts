// Goal: the bytes of the specification's packets, and agreement with an independent codec (mqtt-packet) both ways.
import mqttPacket, { type Packet } from "mqtt-packet";
import { describe, expect, test } from "vitest";
import {
  decodeAcknowledgement,
  decodeConnack,
  decodeConnect,
  decodeDisconnect,
  decodePublishProperties,
  decodeSuback,
  decodeSubscribe,
  decodeUnsubscribe,
  encodeAcknowledgement,
  encodeConnack,
  encodeConnect,
  encodeDisconnect,
  encodePingreq,
  encodePingresp,
  encodePuback,
  encodePublish,
  encodePublishHeader,
  encodePublishTemplate,
  encodeSuback,
  encodeSubscribe,
  encodeUnsuback,
  encodeUnsubscribe,
  MqttError,
  PacketScanner,
  type ProtocolVersion,
  PublishGenerator,
  packetTypes,
  utf8,
  writePublish,
} from "./index.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const versions: ProtocolVersion[] = [4, 5];

/** Offsets of the body of one packet. */
function body(packet: Uint8Array, from: "client" | "server", version: ProtocolVersion): [Buffer, number, number] {
  const scanner = new PacketScanner({ from, ...(from === "server" || packet[0] !== 0x10 ? { version } : {}) });
  scanner.feed(packet);
  expect(scanner.next()).toBe((packet[0] as number) >> 4);
  return [scanner.buffer, scanner.start, scanner.end];
}

function parseWithOracle(bytes: Uint8Array, version: ProtocolVersion): Packet {
  const parser = mqttPacket.parser({ protocolVersion: version });
  const packets: Packet[] = [];
  parser.on("packet", (packet) => packets.push(packet));
  parser.on("error", (error) => {
    throw error;
  });
  parser.parse(Buffer.from(bytes));
  expect(packets).toHaveLength(1);
  return packets[0] as Packet;
}

describe("golden bytes", () => {
  test("PUBLISH of 3.1.1 figure 3.11: topic a/b, packet identifier 10, QoS 1", () => {
    const bytes = encodePublish({ version: 4, topic: utf8("a/b"), payload: utf8("hi"), qos: 1, packetId: 10 });
    expect(hex(bytes)).toBe("32090003612f62000a6869");
  });
  test("PUBLISH of 5.0 has an empty property list", () => {
    const bytes = encodePublish({ version: 5, topic: utf8("a/b"), payload: utf8("hi"), qos: 1, packetId: 10 });
    expect(hex(bytes)).toBe("320a0003612f62000a006869");
  });
  test("SUBSCRIBE of 3.1.1 figure 3.23: a/b with QoS 1, c/d with QoS 2", () => {
    const filters = [
      { filter: "a/b", qos: 1 as const },
      { filter: "c/d", qos: 2 as const },
    ];
    expect(hex(encodeSubscribe({ version: 4, packetId: 10, filters }))).toBe("820e000a0003612f62010003632f6402");
  });
  test("short packets", () => {
    const out = new Uint8Array(6);
    expect(encodePuback(out, 1, 0x1234)).toBe(5);
    expect(hex(out)).toBe("004002123400");
    expect(hex(encodePingreq())).toBe("c000");
    expect(hex(encodePingresp())).toBe("d000");
    expect(hex(encodeDisconnect(4))).toBe("e000");
    expect(hex(encodeDisconnect(5, 0x8e))).toBe("e0018e");
    expect(hex(encodeConnack({ version: 4, reasonCode: 0x85 }))).toBe("20020002");
    expect(hex(encodeConnack({ version: 5, reasonCode: 0 }))).toBe("2003000000");
    expect(hex(encodeSuback(4, 10, [0, 0x97]))).toBe("9004000a0080");
    expect(hex(encodeSuback(5, 10, [0, 0x97]))).toBe("9005000a000097");
    expect(hex(encodeUnsuback(4, 10, [0]))).toBe("b002000a");
    expect(hex(encodeUnsuback(5, 10, [0x11]))).toBe("b004000a0011");
    expect(hex(encodeAcknowledgement({ version: 5, type: packetTypes.pubrel, packetId: 1, reasonCode: 0x92 }))).toBe(
      "6203000192",
    );
  });
});

describe("agreement with mqtt-packet", () => {
  const properties = {
    payloadFormat: 1 as const,
    messageExpirySeconds: 4_000_000_000,
    contentType: "text/plain",
    responseTopic: "r/t",
    correlationData: Uint8Array.of(1, 2, 3),
    subscriptionIdentifiers: [1, 268_435_455],
    userProperties: [
      ["hr-epoch", "1"],
      ["hr-seq", "2"],
    ] as [string, string][],
  };

  test("PUBLISH properties that we write are read alike", () => {
    const options = { version: 5, topic: utf8("a/b"), payload: utf8("hi"), qos: 1, packetId: 3, properties } as const;
    const bytes = encodePublish(options);
    expect(parseWithOracle(bytes, 5)).toMatchObject({
      topic: "a/b",
      qos: 1,
      messageId: 3,
      properties: {
        messageExpiryInterval: 4_000_000_000,
        contentType: "text/plain",
        responseTopic: "r/t",
        subscriptionIdentifier: [1, 268_435_455],
        userProperties: { "hr-epoch": "1", "hr-seq": "2" },
      },
    });
    const scanner = new PacketScanner({ from: "server", version: 5 });
    scanner.feed(bytes);
    scanner.next();
    const { buffer, propertiesStart, propertiesEnd } = scanner.publish;
    expect(decodePublishProperties(buffer, propertiesStart, propertiesEnd)).toEqual(properties);
  });

  test.each(versions)("version %i: CONNECT with everything, both ways", (version) => {
    const will = { topic: "w/t", payload: utf8("gone"), qos: 1 as const, retain: true };
    const bytes = encodeConnect({
      version,
      clientId: "pump-1",
      username: "ü",
      password: Uint8Array.of(0, 255),
      keepAliveSeconds: 30,
      clean: false,
      will,
      properties: { receiveMaximum: 20, maximumPacketSize: 1_000 },
    });
    expect(parseWithOracle(bytes, version)).toMatchObject({ clientId: "pump-1", username: "ü", keepalive: 30 });
    expect(decodeConnect(...body(bytes, "client", version))).toMatchObject({
      version,
      clientId: "pump-1",
      clean: false,
      keepAliveSeconds: 30,
      username: "ü",
      password: Uint8Array.of(0, 255),
      will,
      properties: version === 5 ? { receiveMaximum: 20, maximumPacketSize: 1_000 } : {},
    });
    const theirs = mqttPacket.generate({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: version,
      clientId: "c",
      clean: true,
      keepalive: 5,
      ...(version === 5 && { properties: { sessionExpiryInterval: 9, userProperties: { a: ["1", "2"] } } }),
    });
    expect(decodeConnect(...body(theirs, "client", version))).toMatchObject({
      clientId: "c",
      clean: true,
      properties:
        version === 5
          ? {
              sessionExpirySeconds: 9,
              userProperties: [
                ["a", "1"],
                ["a", "2"],
              ],
            }
          : {},
    });
  });

  test.each(versions)("version %i: SUBSCRIBE, UNSUBSCRIBE and their answers", (version) => {
    const theirs = mqttPacket.generate(
      { cmd: "subscribe", messageId: 7, subscriptions: [{ topic: "a/+", qos: 1, nl: true, rap: true, rh: 1 }] },
      { protocolVersion: version },
    );
    const v5 = version === 5;
    expect(decodeSubscribe(version, ...body(theirs, "client", version))).toEqual({
      packetId: 7,
      filters: [{ filter: "a/+", qos: 1, noLocal: v5, retainAsPublished: v5, retainHandling: v5 ? 1 : 0 }],
      properties: {},
    });
    const unsubscribe = encodeUnsubscribe({ version, packetId: 8, filters: ["a/+", "b"] });
    expect(parseWithOracle(unsubscribe, version)).toMatchObject({ messageId: 8, unsubscriptions: ["a/+", "b"] });
    const decoded = decodeUnsubscribe(version, ...body(unsubscribe, "client", version));
    expect(decoded).toEqual({ packetId: 8, filters: ["a/+", "b"] });
    const suback = encodeSuback(version, 7, [1, 0]);
    expect(parseWithOracle(suback, version)).toMatchObject({ messageId: 7, granted: [1, 0] });
    const read = decodeSuback(version, packetTypes.suback, ...body(suback, "server", version));
    expect([...read.reasonCodes]).toEqual([1, 0]);
  });

  test("CONNACK, PUBACK and DISCONNECT of 5.0 with properties", () => {
    const connack = encodeConnack({
      version: 5,
      reasonCode: 0,
      properties: { receiveMaximum: 10, maximumQos: 1, assignedClientIdentifier: "x", serverKeepAliveSeconds: 60 },
    });
    expect(parseWithOracle(connack, 5)).toMatchObject({
      reasonCode: 0,
      properties: { receiveMaximum: 10, maximumQoS: 1, assignedClientIdentifier: "x", serverKeepAlive: 60 },
    });
    expect(decodeConnack(5, ...body(connack, "server", 5)).properties.maximumQos).toBe(1);
    const puback = encodeAcknowledgement({ version: 5, type: 4, packetId: 5, reasonCode: 0x97, reasonString: "full" });
    expect(parseWithOracle(puback, 5)).toMatchObject({ reasonCode: 0x97, properties: { reasonString: "full" } });
    expect(decodeAcknowledgement(5, 4, ...body(puback, "client", 5))).toEqual({ packetId: 5, reasonCode: 0x97 });
    const disconnect = encodeDisconnect(5, 0x8b, "bye");
    expect(parseWithOracle(disconnect, 5)).toMatchObject({ reasonCode: 0x8b, properties: { reasonString: "bye" } });
    expect(decodeDisconnect(5, ...body(disconnect, "server", 5)).reasonCode).toBe(0x8b);
  });

  test("a template, a header with its payload and a generator give the bytes of encodePublish", () => {
    const message = { version: 5, topic: utf8("a/b"), payload: utf8("hello"), qos: 1, properties } as const;
    const expected = hex(encodePublish({ ...message, packetId: 300 }));
    const out = new Uint8Array(200);
    const end = writePublish(out, 0, encodePublishTemplate(message), 300);
    expect(hex(out.subarray(0, end))).toBe(expected);
    const header = encodePublishHeader({ ...message, packetId: 300 });
    expect(hex(header.bytes) + hex(message.payload)).toBe(expected);
    const { payload, ...rest } = message;
    const generator = new PublishGenerator({ ...rest, payloadBytes: payload.length });
    expect(generator.write(out, 3, 300, payload)).toBe(3 + generator.packetBytes);
    expect(hex(out.subarray(3, 3 + generator.packetBytes))).toBe(expected);
  });
});

test("every cold packet cut at every offset of its body is an MqttError or a shorter valid packet", () => {
  const packets: [Uint8Array, (buffer: Uint8Array, start: number, end: number) => unknown, number][] = [
    [
      encodeConnect({ version: 5, clientId: "abc", username: "u", properties: { receiveMaximum: 3 } }),
      decodeConnect,
      0,
    ],
    [
      encodeSubscribe({ version: 5, packetId: 2, filters: [{ filter: "a/b", qos: 1 }] }),
      (...range) => decodeSubscribe(5, ...range),
      0,
    ],
    [encodeUnsubscribe({ version: 5, packetId: 2, filters: ["a/b"] }), (...range) => decodeUnsubscribe(5, ...range), 0],
    [encodeConnack({ version: 5, reasonCode: 0, properties: { maximumQos: 1 } }), (...r) => decodeConnack(5, ...r), 0],
    // A reason code alone, and nothing at all, are complete (§3.14.2.2.1).
    [encodeDisconnect(5, 0x80, "why"), (...range) => decodeDisconnect(5, ...range), 2],
  ];
  for (const [packet, decode, shorterAllowed] of packets) {
    let valid = 0;
    for (let end = 2; end < packet.length; end += 1) {
      try {
        decode(packet, 2, end);
        valid += 1;
      } catch (error) {
        expect(error).toBeInstanceOf(MqttError);
      }
    }
    expect(valid).toBe(shorterAllowed);
    expect(() => decode(packet, 2, packet.length)).not.toThrow();
  }
});
