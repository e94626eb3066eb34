/**
 * Goal: everything that JSON.parse takes is split into exactly its elements; what is refused names the byte.
 * Method: laws against JSON.parse over generated JSON and over damaged JSON, and examples.
 */
import { HeadraceError } from "@headrace/sdk";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { splitJson, splitLimits, splitLines } from "./split-json.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const limits = { ...splitLimits, depthMax: 1000 };

const textsOf = (text: string, split = splitJson): string[] => {
  const bytes = encoder.encode(text);
  return split(bytes, limits).map(({ start, end }) => decoder.decode(bytes.subarray(start, end)));
};
const parse = (text: string): unknown => JSON.parse(text);
const errorOf = (text: string, split = splitJson): HeadraceError => {
  try {
    split(encoder.encode(text));
  } catch (error) {
    if (error instanceof HeadraceError) return error;
  }
  throw new Error(`${text} was split`);
};

/** JSON as people write it: with white space of all kinds between the tokens. */
const jsonText = fc
  .tuple(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1, "\t", "\r\n "))
  .map(([value, space]) => JSON.stringify(value, null, space));

test("an array is split into its elements, anything else is one value", () => {
  fc.assert(
    fc.property(jsonText, (text) => {
      const whole = parse(text);
      expect(textsOf(text).map(parse)).toEqual(Array.isArray(whole) ? whole : [whole]);
    }),
  );
});

test("lines are split into one value each", () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.constantFrom("\n", "\r\n", "\n\n"), (values, newline) => {
      const text = values.map((value) => JSON.stringify(value)).join(newline);
      expect(textsOf(text, splitLines).map(parse)).toEqual(values.map((value) => parse(JSON.stringify(value))));
    }),
  );
});

test("what JSON.parse takes is never refused, whatever was done to it", () => {
  const damaged = fc
    .tuple(jsonText, fc.nat(), fc.constantFrom("", ",", "]", "}", '"', "\\", "1", " ", "[", "{", "\n", "\u0001"))
    .map(([text, at, put]) => text.slice(0, at % text.length) + put + text.slice((at % text.length) + 1));
  fc.assert(
    fc.property(damaged, (text) => {
      let accepted: unknown;
      try {
        accepted = parse(text);
      } catch {
        return;
      }
      expect(textsOf(text).map(parse)).toEqual(Array.isArray(accepted) ? accepted : [accepted]);
    }),
    { numRuns: 1000 },
  );
});

test("ranges are in order, apart, and inside the body, also for any bytes that happen to split", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (noise) => {
      const bytes = encoder.encode(`[${decoder.decode(noise)}]`);
      try {
        let before = 0;
        for (const { start, end } of splitJson(bytes)) {
          expect(start).toBeGreaterThan(before);
          expect(end).toBeGreaterThan(start);
          before = end;
        }
        expect(before).toBeLessThan(bytes.byteLength);
      } catch (error) {
        expect(error).toBeInstanceOf(HeadraceError);
      }
    }),
    { numRuns: 500 },
  );
});

describe("a body that does not split is refused with the place", () => {
  test.each([
    ["", 0],
    ["   ", 3],
    ["[1,]", 3],
    ["[,1]", 1],
    ["[1 2]", 3],
    ["[1", 2],
    ['{"a":1', 6],
    ['{"a":1]', 6],
    ['{"a":"x}', 8],
    ['"a\\x"', 2],
    ['"\\u12g4"', 5],
    ['"a\nb"', 2],
    ['{"a":1} {"b":2}', 8],
    ["\ufeff[1]", 0],
    ["hello", 0],
  ])("%j at byte %i", (text, offset) => {
    const error = errorOf(text);
    expect(error.code).toBe("HR_BATCH_NOT_JSON");
    expect(error.data.offset).toBe(offset);
  });

  test("a value may not go over two lines", () => {
    expect(errorOf('{"a":1}\n{"b":\n2}', splitLines).data.offset).toBe(13);
    expect(errorOf("{} {}", splitLines).data.offset).toBe(3);
  });
});

describe("limits", () => {
  test("M25: depth 100,000 is refused before any parser sees it", () => {
    expect(errorOf("[".repeat(100_000)).code).toBe("HR_BATCH_NOT_JSON");
    expect(errorOf("[".repeat(100_000)).message).toContain("levels");
    // The outer array of a batch does not count.
    expect(splitJson(encoder.encode(`[${"[".repeat(128)}${"]".repeat(128)}]`))).toHaveLength(1);
  });
  test("a value that is too large, and too many values", () => {
    expect(errorOf(`["${"x".repeat(256 * 1024)}"]`).code).toBe("HR_EVENT_TOO_LARGE");
    expect(errorOf(`[${"1,".repeat(10_000)}1]`).code).toBe("HR_BODY_TOO_LARGE");
  });
  test("an empty array and an empty body of lines hold nothing", () => {
    expect(textsOf(" [ ] ")).toEqual([]);
    expect(textsOf("\n \n", splitLines)).toEqual([]);
  });
});
