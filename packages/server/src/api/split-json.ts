/**
 * Finds where the JSON values of a body start and end, without parsing them: the payloads go into the log as the bytes that came.
 *
 * What is checked: quotes, escapes, control characters in strings, brackets that match, nesting, commas between the elements of a batch,
 * and nothing behind the last value. What is not: the grammar of numbers, the spelling of true, false and null, commas and colons inside
 * an element, and UTF-8. An element that is wrong in such a way is stored and shows up in the stream `rejected`, as over MQTT.
 * So everything that JSON.parse takes is split (up to the limits), and nothing that is split loses or shares a byte.
 */
import { HeadraceError } from "@headrace/sdk";

/** Limits of one body. */
export interface SplitLimits {
  /** Nesting of one value; default 128. Deeper input is refused before any parser sees it. */
  readonly depthMax: number;
  /** Values in one body; default 10,000. */
  readonly valuesMax: number;
  /** Bytes of one value; default 256 KiB. */
  readonly valueBytesMax: number;
}

export const splitLimits: SplitLimits = { depthMax: 128, valuesMax: 10_000, valueBytesMax: 256 * 1024 };

/** One value: `bytes.subarray(start, end)`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const lineFeed = 0x0a;

const isSpace = (byte: number): boolean => byte === 0x20 || byte === lineFeed || byte === 0x0d || byte === 0x09;

/** Bytes that numbers and the three literals are made of. */
const scalarBytes = new Uint8Array(256);
for (const byte of Buffer.from("+-.0123456789Eaeflnrstu")) scalarBytes[byte] = 1;
const escapeBytes = new Uint8Array(256);
for (const byte of Buffer.from('"\\/bfnrtu')) escapeBytes[byte] = 1;
const hexBytes = new Uint8Array(256);
for (const byte of Buffer.from("0123456789abcdefABCDEF")) hexBytes[byte] = 1;

const notJson = (at: number, why: string): HeadraceError =>
  new HeadraceError("HR_BATCH_NOT_JSON", `byte ${at}: ${why}`, { data: { offset: at } });

/** The end of the string that starts at `start`. */
function stringEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start + 1;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte === quote) return at + 1;
    if (byte < 0x20) throw notJson(at, "a control character stands in a string");
    if (byte !== backslash) at++;
    else {
      const escaped = at + 1 < end ? bytes[at + 1]! : 0;
      if (!escapeBytes[escaped]) throw notJson(at, "an escape that JSON does not know");
      at += 2;
      if (escaped === 0x75) {
        for (const last = at + 4; at < last; at++) {
          if (at >= end || !hexBytes[bytes[at]!]) throw notJson(at, "\\u needs four hexadecimal digits");
        }
      }
    }
  }
  throw notJson(end, "the body ends inside a string");
}

/** The end of the object or array that starts at `start`. */
function nestedEnd(bytes: Uint8Array, start: number, end: number, depthMax: number): number {
  const closers: number[] = [];
  let at = start;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte === quote) {
      at = stringEnd(bytes, at, end);
      continue;
    }
    if (byte === openBrace || byte === openBracket) {
      if (closers.length === depthMax) throw notJson(at, `more than ${depthMax} levels are nested`);
      closers.push(byte === openBrace ? closeBrace : closeBracket);
    } else if (byte === closeBrace || byte === closeBracket) {
      if (closers.pop() !== byte) throw notJson(at, `"${String.fromCharCode(byte)}" closes nothing that is open`);
      if (closers.length === 0) return at + 1;
    } else if (byte < 0x20 && !isSpace(byte)) throw notJson(at, "a control character stands between values");
    at++;
  }
  throw notJson(end, `the body ends before "${String.fromCharCode(closers.at(-1) ?? closeBrace)}"`);
}

function scalarEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && scalarBytes[bytes[at]!]) at++;
  if (at === start) throw notJson(at, at < end ? "no JSON value starts here" : "a JSON value is missing");
  return at;
}

function skipSpace(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && isSpace(bytes[at]!)) at++;
  return at;
}

class Collector {
  readonly ranges: ByteRange[] = [];
  readonly #limits: SplitLimits;

  constructor(limits: SplitLimits) {
    this.#limits = limits;
  }

  /** Takes the value that starts at `start`; returns where it ends. */
  take(bytes: Uint8Array, start: number, end: number): number {
    const { depthMax, valuesMax, valueBytesMax } = this.#limits;
    const first = bytes[start];
    const valueEnd =
      start < end && first === quote
        ? stringEnd(bytes, start, end)
        : start < end && (first === openBrace || first === openBracket)
          ? nestedEnd(bytes, start, end, depthMax)
          : scalarEnd(bytes, start, end);
    if (valueEnd - start > valueBytesMax) {
      const message = `byte ${start}: an event of ${valueEnd - start} bytes exceeds the limit of ${valueBytesMax}`;
      throw new HeadraceError("HR_EVENT_TOO_LARGE", message, { data: { offset: start } });
    }
    if (this.ranges.length === valuesMax) {
      throw new HeadraceError("HR_BODY_TOO_LARGE", `more than ${valuesMax} events in one body`);
    }
    this.ranges.push({ start, end: valueEnd });
    return valueEnd;
  }
}

/**
 * The values of a JSON body: the elements if it is an array, else the one value.
 *
 * @throws HeadraceError `HR_BATCH_NOT_JSON` with the byte's offset in `data`, `HR_EVENT_TOO_LARGE`, `HR_BODY_TOO_LARGE`
 * @example
 * ```ts
 * splitJson(new TextEncoder().encode('[{"a":1}, 2]')); // => [{ start: 1, end: 8 }, { start: 10, end: 11 }]
 * ```
 */
export function splitJson(bytes: Uint8Array, limits: SplitLimits = splitLimits): ByteRange[] {
  const end = bytes.byteLength;
  const values = new Collector(limits);
  let at = skipSpace(bytes, 0, end);
  if (bytes[at] !== openBracket) at = values.take(bytes, at, end);
  else {
    at = skipSpace(bytes, at + 1, end);
    if (bytes[at] !== closeBracket) {
      for (;;) {
        at = skipSpace(bytes, values.take(bytes, at, end), end);
        if (bytes[at] === closeBracket) break;
        if (bytes[at] !== comma) throw notJson(at, at < end ? 'expected "," or "]"' : 'the body ends before "]"');
        at = skipSpace(bytes, at + 1, end);
      }
    }
    at++;
  }
  at = skipSpace(bytes, at, end);
  if (at < end) throw notJson(at, "something stands behind the JSON value");
  return values.ranges;
}

/**
 * The values of an NDJSON body: one per line; empty lines are passed over, and an array in a line is one value.
 *
 * @throws as {@link splitJson}
 */
export function splitLines(bytes: Uint8Array, limits: SplitLimits = splitLimits): ByteRange[] {
  const values = new Collector(limits);
  let lineStart = 0;
  while (lineStart < bytes.byteLength) {
    const found = bytes.indexOf(lineFeed, lineStart);
    const lineEnd = found < 0 ? bytes.byteLength : found;
    let at = skipSpace(bytes, lineStart, lineEnd);
    if (at < lineEnd) {
      at = skipSpace(bytes, values.take(bytes, at, lineEnd), lineEnd);
      if (at < lineEnd) throw notJson(at, "something stands behind the JSON value of this line");
    }
    lineStart = lineEnd + 1;
  }
  return values.ranges;
}
