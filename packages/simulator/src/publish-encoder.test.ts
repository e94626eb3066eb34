import { encodePublish } from "@headrace/mqtt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PublishEncoder } from "./publish-encoder.ts";

const encoded = (topic: string, epoch: number | undefined, packetId: number, sequence: number, payload: string) => {
  const userProperties: [string, string][] = [
    ["hr-epoch", `${epoch}`],
    ["hr-seq", `${sequence}`],
  ];
  return encodePublish({
    version: 5,
    topic: Buffer.from(topic),
    payload: Buffer.from(payload),
    qos: 1,
    packetId,
    ...(epoch !== undefined && sequence !== 0 && { properties: { userProperties } }),
  });
};

test("what it writes is what the codec writes, byte for byte", () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, unit: "grapheme" }),
      fc.option(fc.maxSafeNat(), { nil: undefined }),
      fc.integer({ min: 1, max: 65_534 }),
      fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 9, 10, 99, 100, 999_999, 1_000_000)),
      fc.oneof(
        fc.string({ unit: "grapheme" }),
        fc.constantFrom(100, 16_300, 16_400).map((length) => "x".repeat(length)),
      ),
      (topic, epoch, packetId, sequence, payload) => {
        const bytes = new PublishEncoder(topic, epoch).encode(packetId, sequence, payload);
        expect(Buffer.compare(bytes, encoded(topic, epoch, packetId, sequence, payload))).toBe(0);
      },
    ),
  );
});

test("a payload of two million bytes needs a length of four bytes", () => {
  const payload = "x".repeat(2_200_000);
  const bytes = new PublishEncoder("t", 1).encode(1, 1, payload);
  expect(Buffer.compare(bytes, encoded("t", 1, 1, 1, payload))).toBe(0);
});
