import { ByteWriter, varintSize, writeVarint } from "./bytes.ts";
import { type ProtocolVersion, packetTypes, type Qos, remainingLengthMax } from "./packet.ts";
import { type PublishProperties, propertyList } from "./properties.ts";

/** A message to encode as PUBLISH, MQTT 5.0 §3.3. */
export interface PublishMessage {
  readonly version: ProtocolVersion;
  /** UTF-8 bytes of a valid topic name. */
  readonly topic: Uint8Array;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain?: boolean;
  readonly duplicate?: boolean;
  /** Required when `qos` is above 0, unless it is patched in later. */
  readonly packetId?: number;
  /** Ignored in MQTT 3.1.1, which has no properties. */
  readonly properties?: PublishProperties;
  /** Adds a topic alias (version 5) whose value is patched in later. */
  readonly hasAlias?: boolean;
}

/** A PUBLISH up to its payload, or whole, and where its packet identifier lies. */
export interface EncodedPublish {
  readonly bytes: Uint8Array;
  /** Offset of the two bytes of the packet identifier, -1 for QoS 0. */
  readonly packetIdOffset: number;
  /** Offset of the four bytes of Message Expiry Interval, -1 when there is none. */
  readonly expiryOffset: number;
  /** Offset of the two bytes of a topic alias, -1 when there is none. */
  readonly aliasOffset: number;
}

/** Encodes a whole PUBLISH. Throws RangeError when the topic or the packet exceeds what MQTT can express. */
export function encodePublish(message: PublishMessage): Uint8Array {
  return encodePublishTemplate(message).bytes;
}

/** A whole PUBLISH whose packet identifier can be patched: encode once, then {@link writePublish} per receiver. */
export function encodePublishTemplate(message: PublishMessage): EncodedPublish {
  return encode(message, message.payload.length, message.payload);
}

/** Only what precedes the payload, for writing header and payload separately when the payload is large. */
export function encodePublishHeader(message: PublishMessage): EncodedPublish {
  return encode(message, message.payload.length, undefined);
}

/** Writes a template to `out` with this packet identifier (ignored for QoS 0); returns the offset behind it. */
export function writePublish(out: Uint8Array, offset: number, template: EncodedPublish, packetId: number): number {
  out.set(template.bytes, offset);
  if (template.packetIdOffset >= 0) {
    const at = offset + template.packetIdOffset;
    out[at] = packetId >>> 8;
    out[at + 1] = packetId & 0xff;
  }
  return offset + template.bytes.length;
}

/** What differs from one sending of a template to another beside its packet identifier; `offset` is where it was written. */
export function patchPublish(
  out: Uint8Array,
  offset: number,
  template: EncodedPublish,
  patch: { readonly duplicate?: boolean; readonly expirySeconds?: number; readonly alias?: number },
): void {
  if (patch.duplicate) out[offset] = (out[offset] as number) | 8;
  if (template.expiryOffset >= 0 && patch.expirySeconds !== undefined) {
    let at = offset + template.expiryOffset;
    for (let shift = 24; shift >= 0; shift -= 8) out[at++] = (patch.expirySeconds >>> shift) & 0xff;
  }
  if (template.aliasOffset >= 0 && patch.alias !== undefined) {
    out[offset + template.aliasOffset] = patch.alias >>> 8;
    out[offset + template.aliasOffset + 1] = patch.alias & 0xff;
  }
}

/**
 * Writes PUBLISH packets of one topic and one payload length into a caller's buffer, for load generators: the header
 * is encoded once, a packet costs two copies.
 */
export class PublishGenerator {
  /** Bytes of one packet. */
  readonly packetBytes: number;
  readonly #header: EncodedPublish;
  readonly #payloadBytes: number;

  constructor(message: Omit<PublishMessage, "payload" | "packetId"> & { readonly payloadBytes: number }) {
    const payload = new Uint8Array(0);
    this.#header = encode({ ...message, payload }, message.payloadBytes, undefined);
    this.#payloadBytes = message.payloadBytes;
    this.packetBytes = this.#header.bytes.length + message.payloadBytes;
  }

  /** Writes one packet and returns the offset behind it. `payload` must have the declared length. */
  write(out: Uint8Array, offset: number, packetId: number, payload: Uint8Array): number {
    if (payload.length !== this.#payloadBytes) throw new RangeError("the payload does not have the declared length");
    const at = writePublish(out, offset, this.#header, packetId);
    out.set(payload, at);
    return at + payload.length;
  }
}

function encode(message: PublishMessage, payloadBytes: number, payload: Uint8Array | undefined): EncodedPublish {
  const { version, topic, qos } = message;
  if (topic.length > 65_535) throw new RangeError(`a topic of ${topic.length} bytes does not fit PUBLISH`);
  const properties = version === 5 ? propertyBytes(message) : undefined;
  const bodyBytes = 2 + topic.length + (qos === 0 ? 0 : 2) + (properties?.length ?? 0);
  const remaining = bodyBytes + payloadBytes;
  if (remaining > remainingLengthMax) throw new RangeError(`a PUBLISH of ${remaining} bytes does not fit MQTT`);
  const bytes = new Uint8Array(1 + varintSize(remaining) + (payload === undefined ? bodyBytes : remaining));
  const flags = (message.duplicate ? 8 : 0) | (qos << 1) | (message.retain ? 1 : 0);
  bytes[0] = (packetTypes.publish << 4) | flags;
  let at = writeVarint(bytes, 1, remaining);
  bytes[at++] = topic.length >>> 8;
  bytes[at++] = topic.length & 0xff;
  bytes.set(topic, at);
  at += topic.length;
  let packetIdOffset = -1;
  if (qos !== 0) {
    const packetId = message.packetId ?? 0;
    packetIdOffset = at;
    bytes[at++] = packetId >>> 8;
    bytes[at++] = packetId & 0xff;
  }
  const propertiesAt = at;
  if (properties !== undefined) {
    bytes.set(properties, at);
    at += properties.length;
  }
  if (payload !== undefined) bytes.set(payload, at);
  const aliasOffset = properties !== undefined && message.hasAlias ? at - 2 : -1;
  return { bytes, packetIdOffset, expiryOffset: expiryOffset(message, properties, propertiesAt), aliasOffset };
}

function expiryOffset(message: PublishMessage, bytes: Uint8Array | undefined, at: number): number {
  if (bytes === undefined || message.properties?.messageExpirySeconds === undefined) return -1;
  let lengthBytes = 1;
  while (((bytes[lengthBytes - 1] as number) & 0x80) !== 0) lengthBytes += 1;
  return at + lengthBytes + (message.properties.payloadFormat === undefined ? 0 : 2) + 1;
}

const noProperties = new Uint8Array(1);

function propertyBytes({ properties, hasAlias }: PublishMessage): Uint8Array {
  if (properties === undefined && !hasAlias) return noProperties;
  const list = propertyList(properties ?? {});
  const out = new ByteWriter().varint(list.length + (hasAlias ? 3 : 0)).raw(list);
  // The alias comes last, so that its place is known.
  if (hasAlias) out.uint8(0x23).uint16(0);
  return out.bytes();
}
