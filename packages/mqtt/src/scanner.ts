import { MqttError, malformed, protocolError, reasonCodes } from "./errors.ts";
import { type ProtocolVersion, packetTypes, type RawPacket } from "./packet.ts";
import { type PublishView, parsePublish } from "./publish-view.ts";

export interface ScannerOptions {
  /** Whose packets arrive: `"client"` (we are the server) or `"server"`. */
  readonly from: "client" | "server";
  /** Largest packet with its header, in bytes. Default 262,144. */
  readonly maximumPacketSize?: number;
  /** Known protocol version; leave it out on a server, which learns it from CONNECT. */
  readonly version?: ProtocolVersion;
}

/** What a carry buffer may keep between packets; a larger one is given back. */
const carryKeptBytes = 16_384;

// Answer to each possible first byte: 0 to go on, else the reason code. Checked before a single byte is buffered.
const fromClient4 = firstBytes((type) => isFromClient(type) && type !== packetTypes.auth);
const fromClient5 = firstBytes(isFromClient);
const fromServer = firstBytes((type) => !isFromClient(type) || isBothWays(type));
const beforeConnect = new Uint8Array(256).fill(reasonCodes.protocolError);
beforeConnect[packetTypes.connect << 4] = 0;

/**
 * Cuts a byte stream into packets without copying those that arrive whole, and without allocating per packet.
 *
 * `feed` a chunk, then call `next` until it returns 0. The current packet is described by `type`, `flags`, `buffer`,
 * `start` and `end`, a PUBLISH in `publish` as well; all are valid until the next call of `next` or `feed`.
 * A server sets `version` once CONNECT is decoded; until then only CONNECT is let in.
 *
 * Memory: a packet that arrives in pieces is collected in a buffer that grows with what has arrived, never with what
 * was announced, up to `maximumPacketSize`.
 *
 * @example
 * scanner.feed(chunk);
 * for (let type = scanner.next(); type !== 0; type = scanner.next()) {
 *   if (type === packetTypes.publish) handle(scanner.publish);
 * }
 */
export class PacketScanner implements RawPacket {
  readonly publish: PublishView;
  type = 0;
  flags = 0;
  buffer: Buffer;
  start = 0;
  end = 0;
  readonly #maximumPacketSize: number;
  readonly #fromClient: boolean;
  #version: ProtocolVersion | 0;
  #accepts: Uint8Array;
  #chunk: Buffer;
  #position = 0;
  #carry: Buffer;
  #carried = 0;

  constructor(options: ScannerOptions) {
    const empty = Buffer.alloc(0);
    this.#maximumPacketSize = options.maximumPacketSize ?? 262_144;
    this.#fromClient = options.from === "client";
    this.#version = options.version ?? 0;
    this.#accepts = this.#table();
    this.buffer = empty;
    this.#chunk = empty;
    this.#carry = empty;
    this.publish = {
      buffer: empty,
      qos: 0,
      retain: false,
      duplicate: false,
      packetId: 0,
      topicStart: 0,
      topicEnd: 0,
      propertiesStart: 0,
      propertiesEnd: 0,
      payloadStart: 0,
      payloadEnd: 0,
    };
  }

  /** 0 until known. */
  get version(): ProtocolVersion | 0 {
    return this.#version;
  }

  set version(version: ProtocolVersion | 0) {
    this.#version = version;
    this.#accepts = this.#table();
  }

  /** Bytes of an unfinished packet that are held. */
  get carriedBytes(): number {
    return this.#carried;
  }

  /** Bytes that the carry buffer occupies. */
  get carryCapacityBytes(): number {
    return this.#carry.length;
  }

  /** Whether `next` has bytes of the current chunk left to look at: stop reading the socket until it has not. */
  get hasInput(): boolean {
    return this.#position < this.#chunk.length;
  }

  /** Hands over the next bytes of the connection. Throws Error when the previous chunk was not scanned to its end. */
  feed(chunk: Uint8Array): void {
    if (this.#position < this.#chunk.length) throw new Error("feed() before next() returned 0");
    this.#chunk = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#position = 0;
  }

  /**
   * Goes to the next packet and returns its type, or 0 when more bytes are needed.
   *
   * @throws MqttError 0x81 (malformed header or PUBLISH), 0x82 (packet not allowed from this side or before CONNECT,
   *   packet identifier 0), 0x95 (larger than `maximumPacketSize`, thrown as soon as the length is announced). The
   *   connection cannot be scanned further.
   */
  next(): number {
    if (this.#carried !== 0) return this.#resume();
    const chunk = this.#chunk;
    const from = this.#position;
    const available = chunk.length;
    if (from >= available) return 0;
    const first = chunk[from] as number;
    if (this.#accepts[first] !== 0) throw this.#refused(first);
    let at = from + 1;
    let remaining = 0;
    let shift = 0;
    for (;;) {
      if (at === available) return this.#keep(from);
      const byte = chunk[at++] as number;
      remaining |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
      shift += 7;
      if (shift === 28) throw malformed("Remaining Length is longer than four bytes");
    }
    const end = at + remaining;
    if (end - from > this.#maximumPacketSize) throw this.#tooLarge(end - from);
    if (end > available) return this.#keep(from);
    this.#position = end;
    return this.#packet(first, chunk, at, end);
  }

  // Slow path: the packet began in an earlier chunk. Bytes move over until header, then body, are complete.
  #resume(): number {
    const headerEnd = this.#carryHeader();
    if (headerEnd === 0) return 0;
    const carry = this.#carry;
    let remaining = 0;
    for (let at = 1; at < headerEnd; at += 1) remaining |= ((carry[at] as number) & 0x7f) << (7 * (at - 1));
    const end = headerEnd + remaining;
    if (end > this.#maximumPacketSize) throw this.#tooLarge(end);
    const missing = end - this.#carried;
    const available = this.#chunk.length - this.#position;
    this.#carryOver(Math.min(missing, available), end);
    if (available < missing) return 0;
    const whole = this.#carry;
    this.#carried = 0;
    if (whole.length > carryKeptBytes) this.#carry = Buffer.alloc(0);
    return this.#packet(whole[0] as number, whole, headerEnd, end);
  }

  // Completes the fixed header in the carry; returns its length, or 0 when the chunk ends before it does.
  #carryHeader(): number {
    for (let at = 1; ; at += 1) {
      if (at === 5) throw malformed("Remaining Length is longer than four bytes");
      if (at >= this.#carried) {
        if (this.#position >= this.#chunk.length) return 0;
        this.#carryOver(1, 5);
      }
      if ((this.#carry[at] as number) < 0x80) return at + 1;
    }
  }

  #keep(from: number): number {
    this.#position = from;
    this.#carryOver(this.#chunk.length - from, 0);
    return 0;
  }

  #carryOver(length: number, usefulBytes: number): void {
    const needed = this.#carried + length;
    if (needed > this.#carry.length) {
      const doubled = Math.max(256, this.#carry.length * 2, needed);
      const capacity = usefulBytes > needed ? Math.min(doubled, Math.max(usefulBytes, 256)) : doubled;
      const grown = Buffer.allocUnsafeSlow(capacity);
      this.#carry.copy(grown, 0, 0, this.#carried);
      this.#carry = grown;
    }
    this.#chunk.copy(this.#carry, this.#carried, this.#position, this.#position + length);
    this.#carried = needed;
    this.#position += length;
  }

  #packet(first: number, buffer: Buffer, start: number, end: number): number {
    const type = first >> 4;
    this.type = type;
    this.flags = first & 0x0f;
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    if (type === packetTypes.publish) parsePublish(this.publish, this.#version === 5, first, buffer, start, end);
    return type;
  }

  #table(): Uint8Array {
    if (!this.#fromClient) return fromServer;
    return this.#version === 0 ? beforeConnect : this.#version === 4 ? fromClient4 : fromClient5;
  }

  #refused(first: number): MqttError {
    const code = this.#accepts[first] as number;
    const hex = `0x${first.toString(16).padStart(2, "0")}`;
    if (this.#accepts === beforeConnect) return protocolError(`the first packet begins with ${hex}, not with CONNECT`);
    return new MqttError(code, `a packet that begins with ${hex} is not allowed here`);
  }

  #tooLarge(size: number): MqttError {
    return new MqttError(reasonCodes.packetTooLarge, `${size} bytes announced, ${this.#maximumPacketSize} allowed`);
  }
}

function isBothWays(type: number): boolean {
  return (type >= packetTypes.publish && type <= packetTypes.pubcomp) || type >= packetTypes.disconnect;
}

function isFromClient(type: number): boolean {
  const { connect, subscribe, unsubscribe, pingreq } = packetTypes;
  return type === connect || type === subscribe || type === unsubscribe || type === pingreq || isBothWays(type);
}

// Table 2-2: flag bits are fixed but for PUBLISH, where QoS 3 and DUP with QoS 0 are wrong (§3.3.1).
function firstBytes(accepts: (type: number) => boolean): Uint8Array {
  const { pubrel, subscribe, unsubscribe, publish } = packetTypes;
  return Uint8Array.from({ length: 256 }, (_, first) => {
    const type = first >> 4;
    const flags = first & 0x0f;
    const required = type === pubrel || type === subscribe || type === unsubscribe ? 2 : 0;
    const qos = (flags >> 1) & 3;
    const flagsFit = type === publish ? qos !== 3 && !(qos === 0 && (flags & 8) !== 0) : flags === required;
    if (type === 0 || !flagsFit) return reasonCodes.malformedPacket;
    return accepts(type) ? 0 : reasonCodes.protocolError;
  });
}
