import { MqttError, malformed } from "./errors.ts";

// `ignoreBOM` keeps a byte order mark: MQTT 5.0 §1.5.4 forbids stripping it.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The UTF-8 bytes of a string. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/**
 * Decodes strict UTF-8 without U+0000 (MQTT 5.0 §1.5.4; surrogates are ill-formed).
 *
 * @throws MqttError with `reasonCode`, 0x81 by default.
 */
export function decodeUtf8(buffer: Uint8Array, start: number, end: number, reasonCode = 0x81): string {
  let text: string;
  try {
    text = decoder.decode(buffer.subarray(start, end));
  } catch {
    throw new MqttError(reasonCode, "a string is not well-formed UTF-8");
  }
  if (text.includes("\0")) throw new MqttError(reasonCode, "a string contains U+0000");
  return text;
}

/** Reads the data types of MQTT 5.0 §1.5 from a range of bytes; every read past the end throws MqttError 0x81. */
export class ByteReader {
  readonly buffer: Uint8Array;
  readonly end: number;
  position: number;

  constructor(buffer: Uint8Array, start: number, end: number) {
    this.buffer = buffer;
    this.position = start;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  uint8(): number {
    return this.buffer[this.#take(1)] as number;
  }

  uint16(): number {
    const at = this.#take(2);
    return ((this.buffer[at] as number) << 8) | (this.buffer[at + 1] as number);
  }

  uint32(): number {
    const high = this.uint16();
    return high * 65_536 + this.uint16();
  }

  /** A Variable Byte Integer, §1.5.5. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.uint8();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw malformed("a variable byte integer is longer than four bytes");
  }

  /** A UTF-8 Encoded String, §1.5.4. */
  utf8(): string {
    const length = this.uint16();
    const at = this.#take(length);
    return decodeUtf8(this.buffer, at, at + length);
  }

  /** Binary Data, §1.5.6, copied so that it outlives the packet. */
  binary(): Uint8Array {
    const length = this.uint16();
    const at = this.#take(length);
    // Not `slice`: on a Buffer it is a view.
    return new Uint8Array(this.buffer.subarray(at, at + length));
  }

  /** A reader over the next `length` bytes, which this reader then skips. */
  section(length: number): ByteReader {
    const at = this.#take(length);
    return new ByteReader(this.buffer, at, at + length);
  }

  /** Throws MqttError 0x81 when bytes are left over. */
  expectEnd(what: string): void {
    if (this.position !== this.end) throw malformed(`${what} has ${this.remaining} bytes after its end`);
  }

  #take(length: number): number {
    const at = this.position;
    if (length > this.end - at) throw malformed("a packet ends inside a field");
    this.position = at + length;
    return at;
  }
}

/** Writes the data types of MQTT 5.0 §1.5 into a growing buffer; for cold packets only. */
export class ByteWriter {
  #bytes = new Uint8Array(64);
  #length = 0;

  uint8(value: number): this {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  uint16(value: number): this {
    return this.uint8((value >>> 8) & 0xff).uint8(value & 0xff);
  }

  uint32(value: number): this {
    return this.uint16(Math.floor(value / 65_536) & 0xffff).uint16(value & 0xffff);
  }

  varint(value: number): this {
    let rest = value;
    while (rest > 0x7f) {
      this.uint8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    return this.uint8(rest);
  }

  /** Throws RangeError above 65,535 bytes: the length field has two bytes. */
  binary(bytes: Uint8Array): this {
    if (bytes.length > 65_535) throw new RangeError(`${bytes.length} bytes do not fit an MQTT string or binary field`);
    return this.uint16(bytes.length).raw(bytes);
  }

  utf8(text: string): this {
    return this.binary(encoder.encode(text));
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** The bytes written so far; valid until the next write. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** The bytes as a packet: fixed header with `firstByte` and Remaining Length, then what was written. */
  packet(firstByte: number): Uint8Array {
    const packet = new Uint8Array(1 + varintSize(this.#length) + this.#length);
    packet[0] = firstByte;
    packet.set(this.bytes(), writeVarint(packet, 1, this.#length));
    return packet;
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + length));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** How many bytes a Variable Byte Integer takes, MQTT 5.0 §1.5.5. */
export function varintSize(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

/** Writes a Variable Byte Integer and returns the offset behind it. */
export function writeVarint(out: Uint8Array, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  while (rest > 0x7f) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
  return at;
}
