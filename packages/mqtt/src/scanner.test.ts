// Goal: whatever way a byte stream is cut into chunks, the same packets come out, and bad bytes end in MqttError only.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  encodeConnect,
  encodePingreq,
  encodePublish,
  encodeSubscribe,
  MqttError,
  PacketScanner,
  type ProtocolVersion,
  packetTypes,
  utf8,
} from "./index.ts";

interface Seen {
  type: number;
  flags: number;
  body: string;
  publish?: { topic: string; payload: string; packetId: number; qos: number; retain: boolean; duplicate: boolean };
}

function scan(scanner: PacketScanner, chunks: readonly Uint8Array[]): Seen[] {
  const seen: Seen[] = [];
  for (const chunk of chunks) {
    scanner.feed(chunk);
    for (let type = scanner.next(); type !== 0; type = scanner.next()) {
      const { flags, buffer, start, end, publish: view } = scanner;
      const entry: Seen = { type, flags, body: buffer.toString("hex", start, end) };
      if (type === packetTypes.publish) {
        entry.publish = {
          topic: view.buffer.toString("utf8", view.topicStart, view.topicEnd),
          payload: view.buffer.toString("hex", view.payloadStart, view.payloadEnd),
          packetId: view.packetId,
          qos: view.qos,
          retain: view.retain,
          duplicate: view.duplicate,
        };
      }
      if (type === packetTypes.connect && scanner.version === 0) scanner.version = 5;
      seen.push(entry);
    }
  }
  return seen;
}

const stream = (version: ProtocolVersion): Buffer =>
  Buffer.concat([
    encodePublish({ version, topic: utf8("a/b"), payload: utf8("one"), qos: 1, packetId: 7, retain: true }),
    encodePingreq(),
    encodePublish({ version, topic: utf8("a"), payload: new Uint8Array(300), qos: 0 }),
    encodeSubscribe({ version, packetId: 9, filters: [{ filter: "x/#", qos: 1 }] }),
    encodePublish({ version, topic: utf8("ä/€"), payload: new Uint8Array(20_000), qos: 2, packetId: 65_535 }),
    encodePublish({ version, topic: utf8("z"), payload: new Uint8Array(0), qos: 1, packetId: 1, duplicate: true }),
  ]);

describe("PacketScanner", () => {
  test.each([4, 5] as const)("version %i: a stream in one chunk gives its packets", (version) => {
    const seen = scan(new PacketScanner({ from: "client", version }), [stream(version)]);
    expect(seen.map(({ type }) => type)).toEqual([3, 12, 3, 8, 3, 3]);
    expect(seen[0]?.publish).toEqual({
      topic: "a/b",
      payload: Buffer.from("one").toString("hex"),
      packetId: 7,
      qos: 1,
      retain: true,
      duplicate: false,
    });
    expect(seen[4]?.publish).toMatchObject({ topic: "ä/€", packetId: 65_535, qos: 2 });
    expect(seen[5]?.publish).toMatchObject({ payload: "", duplicate: true });
  });

  test("one byte at a time gives the same packets", () => {
    const whole = stream(5);
    const bytes = [...whole].map((byte) => Uint8Array.of(byte));
    const expected = scan(new PacketScanner({ from: "client", version: 5 }), [whole]);
    expect(scan(new PacketScanner({ from: "client", version: 5 }), bytes)).toEqual(expected);
  });

  test("law: chunk borders at any offsets give the same packets", () => {
    const whole = Buffer.concat([encodeConnect({ version: 5, clientId: "d1" }), stream(5)]);
    const expected = scan(new PacketScanner({ from: "client" }), [whole]);
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length), { maxLength: 12 }), (cuts) => {
        const borders = [0, ...cuts.sort((a, b) => a - b), whole.length];
        const chunks = borders.slice(1).map((end, index) => whole.subarray(borders[index], end));
        expect(scan(new PacketScanner({ from: "client" }), chunks)).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  test("a packet cut at every offset asks for more and never yields", () => {
    const packet = encodePublish({ version: 5, topic: utf8("a/b"), payload: utf8("xyz"), qos: 1, packetId: 3 });
    for (let length = 0; length < packet.length; length += 1) {
      expect(scan(new PacketScanner({ from: "client", version: 5 }), [packet.subarray(0, length)])).toEqual([]);
    }
  });

  test("a PUBLISH whose body is cut short at every offset is malformed or shorter, never more", () => {
    const packet = encodePublish({ version: 5, topic: utf8("a/b"), payload: utf8("x"), qos: 1, packetId: 3 });
    for (let length = 0; length < packet.length - 2; length += 1) {
      const cut = Uint8Array.of(packet[0] as number, length, ...packet.subarray(2, 2 + length));
      // Topic, identifier and property length are eight bytes; below that the body is not whole.
      const attempt = (): Seen[] => scan(new PacketScanner({ from: "client", version: 5 }), [cut]);
      if (length < 8) expect(attempt).toThrow(MqttError);
      else expect(attempt()).toHaveLength(1);
    }
  });

  test("law: random bytes throw nothing but MqttError", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 }),
        fc.constantFrom(undefined, 4 as const, 5 as const),
        fc.constantFrom("client" as const, "server" as const),
        (chunks, version, from) => {
          try {
            scan(new PacketScanner({ from, ...(version && { version }) }), chunks);
          } catch (error) {
            expect(error).toBeInstanceOf(MqttError);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("a large packet's carry buffer is given back", () => {
    const packet = encodePublish({ version: 4, topic: utf8("a"), payload: new Uint8Array(100_000), qos: 0 });
    const scanner = new PacketScanner({ from: "client", version: 4 });
    expect(scan(scanner, [packet.subarray(0, 50_000), packet.subarray(50_000)])).toHaveLength(1);
    expect(scanner.carriedBytes).toBe(0);
    expect(scanner.carryCapacityBytes).toBe(0);
  });

  test("feeding before the last chunk is scanned is a programming error", () => {
    const scanner = new PacketScanner({ from: "client", version: 4 });
    scanner.feed(encodePingreq());
    expect(() => scanner.feed(encodePingreq())).toThrow("feed() before next()");
  });
});
