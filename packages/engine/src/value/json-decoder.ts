/**
 * Decodes JSON objects that look like recent ones: devices send the same keys in the same order again and again. Keys are compared as bytes,
 * numbers of up to 15 digits are read exactly (Clinger's fast path: both integers are representable, so one division rounds correctly),
 * and every byte is checked. Whatever is not as expected goes to JSON.parse, whose result this decoder equals in all cases;
 * a property test holds it to that.
 */

/** Decodes UTF-8 of `bytes[start, end)`. */
export type TextDecode = (bytes: Uint8Array, start: number, end: number) => string;

interface Field {
  readonly name: string;
  /** `"name"` in UTF-8. */
  readonly quoted: Uint8Array;
  /** The text seen last in this field: statuses and units repeat. */
  text: string;
  readonly textBytes: Uint8Array;
  textLength: number;
}

interface Shape {
  readonly fields: readonly Field[];
  /** An object with these keys in this order; a copy of it is cheaper than a new object that grows. */
  readonly template: Record<string, unknown>;
}

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const space = 0x20;
const fieldsMax = 32;
const digitsMax = 15;
const powersOfTen = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
const unexpected = Symbol("unexpected");
/** Texts up to this length are remembered per field. */
const rememberedBytesMax = 24;
/** Objects in a row that did not fit before the shape is learned anew; more with each failure, so that mixed payloads cost no learning. */
const missesMin = 4;
/** Shapes that are tried one after the other; a wrong one shows at its first key as a rule. */
const shapesMax = 8;
const missesMax = 4096;

export class JsonDecoder {
  readonly #text: TextDecode;
  /** Known shapes, the one that fitted last in front: devices of several kinds share a stream. */
  readonly #shapes: Shape[] = [];
  readonly #values: unknown[] = [];
  #misses = 0;
  #patience = 0;
  /** Where the value that was read last ended. */
  #at = 0;

  constructor(text: TextDecode) {
    this.#text = text;
  }

  /** The value of `bytes[start, end)`. @throws SyntaxError as JSON.parse does */
  decode(bytes: Uint8Array, start: number, end: number): unknown {
    const shapes = this.#shapes;
    for (let index = 0; index < shapes.length; index++) {
      const shape = shapes[index];
      const value = this.#expect(shape, bytes, start, end);
      if (value === unexpected) continue;
      this.#misses = 0;
      if (index > 0) {
        shapes[index] = shapes[index - 1];
        shapes[index - 1] = shape;
      }
      return value;
    }
    const value: unknown = JSON.parse(this.#text(bytes, start, end));
    if (this.#misses++ >= this.#patience) this.#learn(value);
    return value;
  }

  #learn(value: unknown): void {
    this.#misses = 0;
    const shape = learn(value);
    if (shape && this.#shapes.length < shapesMax) this.#shapes.unshift(shape);
    else {
      this.#patience = Math.min(missesMax, Math.max(missesMin, this.#patience * 2));
      if (shape) this.#shapes[shapesMax - 1] = shape;
    }
  }

  #expect(shape: Shape, bytes: Uint8Array, start: number, end: number): unknown {
    const { fields, template } = shape;
    if (bytes[start] !== 0x7b) return unexpected;
    const values = this.#values;
    let at = start + 1;
    for (let index = 0; index < fields.length; index++) {
      const field = fields[index];
      if (index > 0) {
        if (bytes[at] !== comma) return unexpected;
        at++;
        while (bytes[at] === space) at++;
      }
      const { quoted } = field;
      for (let byte = 0; byte < quoted.length; byte++) if (bytes[at + byte] !== quoted[byte]) return unexpected;
      at += quoted.length;
      if (bytes[at] !== colon) return unexpected;
      at++;
      while (bytes[at] === space) at++;
      const value = this.#value(field, bytes, at, end);
      if (value === unexpected) return unexpected;
      values[index] = value;
      at = this.#at;
    }
    if (bytes[at] !== 0x7d || at + 1 !== end) return unexpected;
    const object = { ...template };
    for (let index = 0; index < fields.length; index++) object[fields[index].name] = values[index];
    return object;
  }

  #value(field: Field, bytes: Uint8Array, start: number, end: number): unknown {
    const first = bytes[start];
    if (first === quote) return this.#string(field, bytes, start + 1, end);
    if (first === 0x2d || (first >= 0x30 && first <= 0x39)) return this.#number(bytes, start, end);
    if (first === 0x74) return this.#literal(bytes, start, end, 0x72, 0x75, 0x65) ? true : unexpected;
    if (first === 0x6e) return this.#literal(bytes, start, end, 0x75, 0x6c, 0x6c) ? null : unexpected;
    if (first === 0x66 && bytes[start + 4] === 0x65)
      return this.#literal(bytes, start, end, 0x61, 0x6c, 0x73, 5) ? false : unexpected;
    return unexpected;
  }

  #literal(bytes: Uint8Array, start: number, end: number, b: number, c: number, d: number, length = 4): boolean {
    this.#at = start + length;
    return this.#at <= end && bytes[start + 1] === b && bytes[start + 2] === c && bytes[start + 3] === d;
  }

  #number(bytes: Uint8Array, start: number, end: number): unknown {
    let at = start;
    const negative = bytes[at] === 0x2d;
    if (negative) at++;
    let mantissa = 0;
    let digits = 0;
    const integerStart = at;
    for (; at < end; at++, digits++) {
      const digit = bytes[at] - 0x30;
      if (digit < 0 || digit > 9) break;
      mantissa = mantissa * 10 + digit;
    }
    if (at === integerStart || (bytes[integerStart] === 0x30 && at > integerStart + 1)) return unexpected;
    let value = mantissa;
    if (bytes[at] === 0x2e && at < end) {
      const fractionStart = ++at;
      for (; at < end; at++, digits++) {
        const digit = bytes[at] - 0x30;
        if (digit < 0 || digit > 9) break;
        mantissa = mantissa * 10 + digit;
      }
      if (at === fractionStart || digits > digitsMax) return unexpected;
      value = mantissa / powersOfTen[at - fractionStart];
    }
    // Past the digits only a delimiter is plain; an exponent, or more digits than are exact, is for JSON.parse.
    if (digits > digitsMax || at >= end || (bytes[at] | 0x20) === 0x65) return unexpected;
    this.#at = at;
    return negative ? -value : value;
  }

  #string(field: Field, bytes: Uint8Array, start: number, end: number): unknown {
    let at = start;
    for (; at < end; at++) {
      const byte = bytes[at];
      if (byte === quote) break;
      if (byte < 0x20 || byte >= 0x80 || byte === 0x5c) return unexpected;
    }
    if (at >= end) return unexpected;
    this.#at = at + 1;
    const length = at - start;
    const { textBytes } = field;
    if (length === field.textLength) {
      let same = 0;
      while (same < length && textBytes[same] === bytes[start + same]) same++;
      if (same === length) return field.text;
    }
    const text = this.#text(bytes, start, at);
    if (length <= rememberedBytesMax) {
      for (let byte = 0; byte < length; byte++) textBytes[byte] = bytes[start + byte];
      field.text = text;
      field.textLength = length;
    }
    return text;
  }
}

/** The shape of an object of scalars; undefined for anything else. */
const learn = (value: unknown): Shape | undefined => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const names = Object.keys(value);
  // Keys like "1" are kept in numeric order and not in the order sent, and "__proto__" is no ordinary assignment.
  if (
    names.length === 0 ||
    names.length > fieldsMax ||
    names.some((name) => name === "__proto__" || /^\d+$/.test(name))
  )
    return undefined;
  if (Object.values(value).some((item) => typeof item === "object" && item !== null)) return undefined;
  const encoder = new TextEncoder();
  const fields = names.map(
    (name): Field => ({
      name,
      quoted: encoder.encode(JSON.stringify(name)),
      text: "",
      textBytes: new Uint8Array(rememberedBytesMax),
      textLength: 0,
    }),
  );
  return { fields, template: { ...(value as Record<string, unknown>) } };
};
