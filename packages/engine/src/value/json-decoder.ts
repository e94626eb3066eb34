/**
 * Decodes JSON objects that look like recent ones: devices send the same keys in the same order again and again. The shapes that were seen
 * form a tree, an edge for each key, so that messages of several kinds on one stream cost no second try. Keys are compared as bytes,
 * numbers of up to 15 digits are read exactly (Clinger's fast path: both integers are representable, so one division rounds correctly),
 * and every byte is checked. Whatever is not as expected goes to JSON.parse, whose result this decoder equals in all cases;
 * a property test holds it to that.
 */

/** Decodes UTF-8 of `bytes[start, end)`. */
export type TextDecode = (bytes: Uint8Array, start: number, end: number) => string;

/** A place between two keys of the shapes that begin alike. */
interface Place {
  readonly fields: Field[];
  /** Whether a shape ends here. */
  isEnd: boolean;
  /** The keys that lead here. */
  readonly names: readonly string[];
}

/** A key that was seen at a place, and what came behind it. */
interface Field {
  readonly name: string;
  /** `"name"` in UTF-8. */
  readonly quoted: Uint8Array;
  readonly next: Place;
  /** The text seen last in this field: statuses and units repeat. */
  text: string;
  readonly textBytes: Uint8Array;
  textLength: number;
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
/** Objects in a row that did not fit before the next one is learned; more with each failure, so that mixed payloads cost no learning. */
const missesMin = 4;
const missesMax = 4096;
/** Keys that are kept over all shapes; beyond this all is forgotten and learned anew. */
const keysMax = 512;

const noPlace = (names: readonly string[]): Place => ({ fields: [], isEnd: false, names });

export class JsonDecoder {
  readonly #text: TextDecode;
  readonly #values: unknown[] = [];
  #root = noPlace([]);
  #keys = 0;
  #misses = 0;
  #patience = 0;
  /** Where the value that was read last ended. */
  #at = 0;

  constructor(text: TextDecode) {
    this.#text = text;
  }

  /** The value of `bytes[start, end)`. @throws SyntaxError as JSON.parse does */
  decode(bytes: Uint8Array, start: number, end: number): unknown {
    const expected = this.#expect(bytes, start, end);
    if (expected !== unexpected) {
      this.#misses = 0;
      return expected;
    }
    const value: unknown = JSON.parse(this.#text(bytes, start, end));
    if (this.#misses++ >= this.#patience) this.#learn(value);
    return value;
  }

  #learn(value: unknown): void {
    this.#misses = 0;
    const names = namesOf(value);
    if (!names || this.#keys + names.length > keysMax) {
      this.#patience = Math.min(missesMax, Math.max(missesMin, this.#patience * 2));
      if (!names) return;
      this.#root = noPlace([]);
      this.#keys = 0;
    }
    let place = this.#root;
    for (const name of names) {
      let field = place.fields.find((candidate) => candidate.name === name);
      if (!field) {
        field = newField(name, place);
        place.fields.push(field);
        this.#keys++;
      }
      place = field.next;
    }
    place.isEnd = true;
  }

  #expect(bytes: Uint8Array, start: number, end: number): unknown {
    if (bytes[start] !== 0x7b) return unexpected;
    const values = this.#values;
    let place = this.#root;
    let count = 0;
    let at = start + 1;
    for (;;) {
      const field = fieldAt(place.fields, bytes, at);
      if (!field) return unexpected;
      at += field.quoted.length;
      if (bytes[at] !== colon) return unexpected;
      at++;
      while (bytes[at] === space) at++;
      const value = this.#value(field, bytes, at, end);
      if (value === unexpected) return unexpected;
      values[count++] = value;
      at = this.#at;
      place = field.next;
      const byte = bytes[at++];
      if (byte === comma) while (bytes[at] === space) at++;
      else if (byte === 0x7d && at === end) break;
      else return unexpected;
    }
    const { isEnd, names } = place;
    if (!isEnd) return unexpected;
    // Growing it key by key costs half of copying an object of the shape once a stream has more than four shapes, and no more with one.
    const object: Record<string, unknown> = {};
    for (let index = 0; index < count; index++) object[names[index]] = values[index];
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

/** The key that stands at `at`. */
const fieldAt = (fields: readonly Field[], bytes: Uint8Array, at: number): Field | undefined => {
  next: for (const field of fields) {
    const { quoted } = field;
    // The first byte is a quotation mark in all of them.
    for (let byte = 1; byte < quoted.length; byte++) if (bytes[at + byte] !== quoted[byte]) continue next;
    if (bytes[at] === quote) return field;
  }
  return undefined;
};

/** Keys of an object of scalars, in their order; undefined for anything else. */
const namesOf = (value: unknown): string[] | undefined => {
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
  return names;
};

const newField = (name: string, place: Place): Field => ({
  name,
  quoted: new TextEncoder().encode(JSON.stringify(name)),
  next: noPlace([...place.names, name]),
  text: "",
  textBytes: new Uint8Array(rememberedBytesMax),
  textLength: 0,
});
