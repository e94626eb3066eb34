/** Goal: the decoder equals JSON.parse on every input, valid or not. Method: payloads of one shape with mutated bytes, against JSON.parse itself. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { JsonDecoder } from "./json-decoder.ts";

const encoder = new TextEncoder();
const text = (bytes: Uint8Array, start: number, end: number): string =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(start, end));

const outcome = (run: () => unknown): unknown => {
  try {
    return { value: run() };
  } catch (error) {
    return { error: (error as Error).name };
  }
};

/** Decodes through one decoder, at an offset, and compares each with JSON.parse, key order and the sign of zero included. */
const expectSame = (decoder: JsonDecoder, payload: Uint8Array): void => {
  const padded = new Uint8Array(payload.length + 8).fill(0x7d);
  padded.set(payload, 4);
  const expected = outcome(() => JSON.parse(text(payload, 0, payload.length)));
  const actual = outcome(() => decoder.decode(padded, 4, 4 + payload.length));
  expect(actual).toStrictEqual(expected);
  expect(JSON.stringify(actual)).toBe(JSON.stringify(expected));
};

const scalar = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.maxSafeInteger(),
  fc.integer({ min: -99999, max: 99999 }).map((value) => value / 100),
  fc.string({ unit: "binary" }),
  fc.string(),
  fc.boolean(),
  fc.constant(null),
);

test("equals JSON.parse on payloads of one shape, whatever their values", () => {
  const names = fc.uniqueArray(
    fc.oneof(fc.string(), fc.constantFrom("temperature", "vibration", "1", "__proto__", 'a"b')),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(
      names,
      fc.array(fc.array(scalar, { minLength: 6, maxLength: 6 }), { minLength: 2, maxLength: 8 }),
      fc.constantFrom(undefined, 1),
      (keys, rows, indent) => {
        const decoder = new JsonDecoder(text);
        for (const row of rows) {
          const content = keys.map(
            (key, index) => `${JSON.stringify(key)}:${indent ? " " : ""}${JSON.stringify(row[index])}`,
          );
          expectSame(decoder, encoder.encode(`{${content.join(indent ? ", " : ",")}}`));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("equals JSON.parse when bytes of a known shape are changed, cut or doubled", () => {
  const known = '{"t":-12.50,"s":"ok","b":true,"f":false,"n":null,"i":7}';
  const change = fc.record({ at: fc.nat(known.length - 1), bytes: fc.uint8Array({ maxLength: 3 }), cut: fc.nat(2) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
      const decoder = new JsonDecoder(text);
      expectSame(decoder, encoder.encode(known));
      let bytes = [...encoder.encode(known)];
      for (const { at, bytes: inserted, cut } of changes)
        bytes = [...bytes.slice(0, at), ...inserted, ...bytes.slice(at + cut)];
      expectSame(decoder, Uint8Array.from(bytes));
      expectSame(decoder, encoder.encode(known));
    }),
    { numRuns: 3000 },
  );
});

test.each([
  "01",
  "-",
  "-0",
  "0",
  "1.",
  ".5",
  "1e5",
  "1E-2",
  "123456789012345",
  "1234567890123456",
  "0.1234567890123456",
  "9007199254740993",
  "1.7976931348623157e309",
  "-0.0",
  "00",
  "tru",
  "nul",
  "falsy",
  '"\\u0041"',
  '"\u0001"',
  '"',
  "{}",
  "[1]",
  "1 ",
  "+1",
  "0x1",
])("equals JSON.parse on the value %s", (value) => {
  const decoder = new JsonDecoder(text);
  expectSame(decoder, encoder.encode('{"v":1}'));
  expectSame(decoder, encoder.encode(`{"v":${value}}`));
  expectSame(decoder, encoder.encode(`{"v":${value}`));
});
