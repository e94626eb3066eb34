/** State values: what goes in comes out, the bytes are fixed, and what cannot be kept is refused with a reason. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeValue, encodeValue } from "./codec.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom(undefined, null, true, false, Number.NaN, Number.POSITIVE_INFINITY, -0, 2 ** 31, -(2 ** 31) + 1),
    fc.integer(),
    fc.double(),
    fc.string({ unit: "binary" }),
    fc.string({ unit: fc.constantFrom("\ud800", "a", "€", "\udc00", "𝄞") }),
    fc.bigInt(),
    fc.date({ noInvalidDate: false }),
    fc.uint8Array(),
    fc.float64Array(),
    fc.int16Array(),
    fc.bigInt64Array(),
    fc.array(tie("any"), { maxLength: 5 }),
    fc.array(fc.tuple(tie("any"), tie("any")), { maxLength: 5 }).map((pairs) => new Map(pairs)),
    fc.array(tie("any"), { maxLength: 5 }).map((items) => new Set(items)),
    fc.dictionary(fc.oneof(fc.string(), fc.constant("__proto__")), tie("any"), { maxKeys: 5, noNullPrototype: true }),
  ),
})).any;

test("what is encoded is decoded again, with the same bytes when it is encoded once more", () => {
  fc.assert(
    fc.property(value, (original) => {
      const bytes = encodeValue(original);
      const decoded = decodeValue(bytes);
      expect(decoded).toStrictEqual(original);
      expect(hex(encodeValue(decoded))).toBe(hex(bytes));
    }),
    { numRuns: 500 },
  );
});

test("cut anywhere, the bytes are refused and nothing else happens", () => {
  fc.assert(
    fc.property(value, (original) => {
      const bytes = encodeValue(original);
      for (let end = 0; end < bytes.byteLength; end++) {
        expect(() => decodeValue(bytes.subarray(0, end))).toThrow(
          expect.objectContaining({ code: "HR_STATE_INVALID" }),
        );
      }
    }),
    { numRuns: 50 },
  );
});

test("the bytes are part of the stored format", () => {
  const state = {
    n: -1,
    big: 2 ** 40,
    text: "é",
    half: "\ud800",
    long: 10n ** 20n,
    list: [null, undefined, true, false],
    map: new Map([["a", 1]]),
    set: new Set([300]),
    at: new Date(1000),
    bytes: new Int16Array([1, -1]),
  };
  expect(hex(encodeValue(state))).toBe(
    "090a016e0401036269670500000000000070420474657874" +
      "0602c3a90468616c660e0100d8046c6f6e670715313030303030303030303030303030303030303030" +
      "046c69737408040100030203" +
      "6d61700a0106016104020373657" +
      "40b0104d80402" +
      "61740c04d00f0562797465730d0304" +
      "0100ffff",
  );
});

describe("refused", () => {
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  class Pump {
    hot = 1;
  }
  test.each([
    ["a function", { f: () => 0 }, "function"],
    ["a symbol", Symbol("s"), "symbol"],
    ["an instance of a class", { pump: new Pump() }, "Pump"],
    ["a promise", Promise.resolve(), "Promise"],
    ["a DataView", new DataView(new ArrayBuffer(1)), "DataView"],
    ["a value that refers to itself", loop, "refers to itself"],
    ["a name with half of a pair", { "\ud800": 1 }, "surrogate"],
  ])("%s", (_what, refused, reason) => {
    expect(() => encodeValue(refused)).toThrow(expect.objectContaining({ code: "HR_STATE_INVALID" }));
    expect(() => encodeValue(refused)).toThrow(reason);
  });

  test("what is larger than the limit, 64 KiB unless said otherwise", () => {
    expect(encodeValue("x".repeat(65_530)).byteLength).toBe(65_534);
    expect(() => encodeValue("x".repeat(65_536))).toThrow("exceeds the limit of 65536");
    expect(encodeValue("x".repeat(65_536), 1e6).byteLength).toBeGreaterThan(65_536);
  });

  test("and the next value is not affected", () => {
    expect(() => encodeValue([1, () => 0])).toThrow();
    expect(decodeValue(encodeValue([1]))).toEqual([1]);
  });
});
