/**
 * The binary form of state values, version 1: plain data, Map, Set, Date, bigint and typed arrays. One tag byte, then the content;
 * lengths are varints, numbers f64 or a zigzag varint when integral and small. Same value, same bytes (P10): object keys keep their order.
 */
import { HeadraceError } from "@headrace/sdk";
import { dateOf, isDate } from "./date.ts";

const tag = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  integer: 4,
  double: 5,
  string: 6,
  bigint: 7,
  array: 8,
  object: 9,
  map: 10,
  set: 11,
  date: 12,
  bytes: 13,
  units: 14,
} as const;

const typedArrays = [
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const;

const depthMax = 100;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const invalid = (message: string): HeadraceError => new HeadraceError("HR_STATE_INVALID", message);

class Writer {
  bytes = new Uint8Array(1024);
  view = new DataView(this.bytes.buffer);
  end = 0;

  reserve(count: number): void {
    if (this.end + count <= this.bytes.byteLength) return;
    const larger = new Uint8Array(Math.max(this.bytes.byteLength * 2, this.end + count));
    larger.set(this.bytes);
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }
  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.end++] = value;
  }
  varint(value: number): void {
    this.reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.bytes[this.end++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.bytes[this.end++] = rest;
  }
  text(value: string): void {
    const length = value.length;
    this.reserve(length * 3 + 5);
    // Short ASCII text is the common case: property names and ids.
    if (length < 128) {
      const start = this.end;
      let at = start + 1;
      let index = 0;
      for (; index < length; index++) {
        const unit = value.charCodeAt(index);
        if (unit >= 0x80) break;
        this.bytes[at++] = unit;
      }
      if (index === length) {
        this.bytes[start] = length;
        this.end = at;
        return;
      }
    }
    const encoded = encoder.encode(value);
    this.varint(encoded.byteLength);
    this.raw(encoded);
  }
  raw(value: Uint8Array): void {
    this.reserve(value.byteLength);
    this.bytes.set(value, this.end);
    this.end += value.byteLength;
  }
}

const writer = new Writer();

const putString = (value: string): void => {
  if (value.isWellFormed()) {
    writer.byte(tag.string);
    writer.text(value);
    return;
  }
  // UTF-8 has no half of a pair: such text is kept by its units, or it would change at the next recovery.
  writer.byte(tag.units);
  writer.varint(value.length);
  for (let at = 0; at < value.length; at++) {
    const unit = value.charCodeAt(at);
    writer.byte(unit & 0xff);
    writer.byte(unit >>> 8);
  }
};

const put = (value: unknown, depth: number): void => {
  switch (typeof value) {
    case "undefined":
      writer.byte(tag.undefined);
      return;
    case "boolean":
      writer.byte(value ? tag.true : tag.false);
      return;
    case "number":
      if (Number.isInteger(value) && value > -0x7fffffff && value < 0x7fffffff && !Object.is(value, -0)) {
        writer.byte(tag.integer);
        writer.varint(value >= 0 ? value * 2 : value * -2 - 1);
        return;
      }
      writer.byte(tag.double);
      writer.reserve(8);
      writer.view.setFloat64(writer.end, value, true);
      writer.end += 8;
      return;
    case "string":
      putString(value);
      return;
    case "bigint":
      writer.byte(tag.bigint);
      writer.text(value.toString());
      return;
    case "object":
      if (value === null) writer.byte(tag.null);
      else putObject(value, depth);
      return;
    default:
      throw invalid(`a ${typeof value} cannot be kept in state`);
  }
};

const putObject = (value: object, depth: number): void => {
  if (depth > depthMax) throw invalid(`state is nested deeper than ${depthMax} levels or refers to itself`);
  if (Array.isArray(value)) {
    writer.byte(tag.array);
    writer.varint(value.length);
    for (const item of value) put(item, depth + 1);
  } else if (value instanceof Map) {
    writer.byte(tag.map);
    writer.varint(value.size);
    for (const [key, item] of value) {
      put(key, depth + 1);
      put(item, depth + 1);
    }
  } else if (value instanceof Set) {
    writer.byte(tag.set);
    writer.varint(value.size);
    for (const item of value) put(item, depth + 1);
  } else if (isDate(value)) {
    writer.byte(tag.date);
    put(value.getTime(), depth + 1);
  } else if (ArrayBuffer.isView(value)) {
    const kind = typedArrays.findIndex((type) => value instanceof type);
    if (kind < 0) throw invalid("a DataView cannot be kept in state: keep the typed array");
    writer.byte(tag.bytes);
    writer.byte(kind);
    writer.varint(value.byteLength);
    writer.raw(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  } else {
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null && prototype?.constructor?.name !== "Object") {
      throw invalid(
        `an instance of ${prototype?.constructor?.name ?? "a class"} cannot be kept in state: keep plain data`,
      );
    }
    const keys = Object.keys(value);
    writer.byte(tag.object);
    writer.varint(keys.length);
    for (const key of keys) {
      if (!key.isWellFormed()) throw invalid("a property name with half of a surrogate pair cannot be kept in state");
      writer.text(key);
      put((value as Record<string, unknown>)[key], depth + 1);
    }
  }
};

/**
 * Encodes a value.
 * @param bytesMax largest result, default 64 KiB @throws HR_STATE_INVALID for what cannot be kept, or is too large
 */
export const encodeValue = (value: unknown, bytesMax = 64 * 1024): Uint8Array => {
  writer.end = 0;
  put(value, 0);
  if (writer.end > bytesMax) throw invalid(`a state value of ${writer.end} bytes exceeds the limit of ${bytesMax}`);
  return writer.bytes.slice(0, writer.end);
};

/** Of the last digit of a number below 2^53. */
const varintFactorMax = 2 ** 49;

class Reader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at = 0;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  byte(): number {
    if (this.at >= this.bytes.byteLength) throw invalid("an encoded value is cut");
    return this.bytes[this.at++];
  }
  varint(): number {
    let value = 0;
    let factor = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 0x80;
      if (factor > varintFactorMax) throw invalid("an encoded number is too long");
    }
  }
  take(length: number): Uint8Array {
    if (this.at + length > this.bytes.byteLength) throw invalid("an encoded value is cut");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  text(): string {
    return decoder.decode(this.take(this.varint()));
  }
}

const bigintOf = (text: string): bigint => {
  if (!/^-?\d+$/.test(text)) throw invalid("an encoded bigint is no number");
  return BigInt(text);
};

const get = (reader: Reader, depth: number): unknown => {
  if (depth > depthMax + 1) throw invalid(`an encoded value is nested deeper than ${depthMax} levels`);
  const kind = reader.byte();
  switch (kind) {
    case tag.undefined:
      return undefined;
    case tag.null:
      return null;
    case tag.false:
      return false;
    case tag.true:
      return true;
    case tag.integer: {
      const zigzag = reader.varint();
      return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
    }
    case tag.double: {
      reader.take(8);
      return reader.view.getFloat64(reader.at - 8, true);
    }
    case tag.string:
      return reader.text();
    case tag.units: {
      const bytes = reader.take(reader.varint() * 2);
      let text = "";
      for (let at = 0; at < bytes.byteLength; at += 2) text += String.fromCharCode(bytes[at] | (bytes[at + 1] << 8));
      return text;
    }
    case tag.bigint:
      return bigintOf(reader.text());
    case tag.array: {
      const items: unknown[] = [];
      for (let left = reader.varint(); left > 0; left--) items.push(get(reader, depth + 1));
      return items;
    }
    case tag.map: {
      const map = new Map<unknown, unknown>();
      for (let left = reader.varint(); left > 0; left--) {
        const key = get(reader, depth + 1);
        map.set(key, get(reader, depth + 1));
      }
      return map;
    }
    case tag.set: {
      const set = new Set<unknown>();
      for (let left = reader.varint(); left > 0; left--) set.add(get(reader, depth + 1));
      return set;
    }
    case tag.date:
      return dateOf(get(reader, depth + 1) as number);
    case tag.bytes: {
      const type = typedArrays[reader.byte()];
      const content = reader.take(reader.varint()).slice();
      if (!type || content.byteLength % type.BYTES_PER_ELEMENT !== 0)
        throw invalid("an encoded typed array is damaged");
      return new type(content.buffer as never);
    }
    case tag.object: {
      const object: Record<string, unknown> = {};
      for (let left = reader.varint(); left > 0; left--) {
        const name = reader.text();
        const item = get(reader, depth + 1);
        if (name === "__proto__")
          Object.defineProperty(object, name, { value: item, enumerable: true, writable: true, configurable: true });
        else object[name] = item;
      }
      return object;
    }
    default:
      throw invalid(`an encoded value has the unknown tag ${kind}`);
  }
};

/** Decodes what {@link encodeValue} made. @throws HR_STATE_INVALID for anything else */
export const decodeValue = (bytes: Uint8Array): unknown => get(new Reader(bytes), 0);
