/** The fast reader agrees with the decoder on every list of user properties, or leaves it to the decoder. */
import { decodePublishProperties, encodePublish, PacketScanner, utf8 } from "@headrace/mqtt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { envelopeOf } from "./envelope.ts";
import { SequenceReader } from "./sequence-reader.ts";

const listOf = (userProperties: [string, string][]): { bytes: Buffer; start: number; end: number } => {
  const scanner = new PacketScanner({ from: "client", version: 5 });
  scanner.feed(
    encodePublish({ version: 5, topic: utf8("t"), payload: utf8("p"), qos: 0, properties: { userProperties } }),
  );
  scanner.next();
  return { bytes: scanner.publish.buffer, start: scanner.publish.propertiesStart, end: scanner.publish.propertiesEnd };
};

const name = fc.constantFrom("hr-epoch", "hr-seq", "hr-se", "hr-seqq", "x", "");
const value = fc.oneof(
  fc.nat({ max: Number.MAX_SAFE_INTEGER }).map(String),
  fc.constantFrom("", "-1", "1e3", " 7", "007", "4294967295", "4294967296", "9007199254740991", "9007199254740993"),
);

test("what it reads is what the decoder reads", () => {
  const reader = new SequenceReader();
  let read = 0;
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 4 }), (pairs) => {
      const { bytes, start, end } = listOf(pairs);
      if (!reader.read(bytes, start, end)) return;
      read += 1;
      expect(envelopeOf(decodePublishProperties(bytes, start, end))).toMatchObject({
        properties: undefined,
        deviceEpoch: reader.epoch,
        deviceSequence: reader.sequence,
      });
    }),
    { numRuns: 2_000 },
  );
  expect(read).toBeGreaterThan(0);
});

test("a list that is cut anywhere is left to the decoder", () => {
  const reader = new SequenceReader();
  const { bytes, start, end } = listOf([
    ["hr-epoch", "12"],
    ["hr-seq", "34"],
  ]);
  expect(reader.read(bytes, start, end)).toBe(true);
  expect([reader.epoch, reader.sequence]).toEqual([12, 34]);
  for (let cut = start; cut < end; cut++) expect(reader.read(bytes, start, cut)).toBe(false);
});
