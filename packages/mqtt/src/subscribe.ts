import { ByteReader, ByteWriter } from "./bytes.ts";
import { malformed, protocolError } from "./errors.ts";
import { type ProtocolVersion, packetTypes, type Qos } from "./packet.ts";
import { type Properties, readProperties, writeProperties } from "./properties.ts";

/** One topic filter of a SUBSCRIBE with its options, MQTT 5.0 §3.8.3.1. */
export interface FilterRequest {
  readonly filter: string;
  readonly qos: Qos;
  /** Do not send me what I publish myself. Always false in 3.1.1. */
  readonly noLocal: boolean;
  /** Forward the retain flag as it was published. Always false in 3.1.1. */
  readonly retainAsPublished: boolean;
  /** 0: send retained messages; 1: only if the subscription is new; 2: never. Always 0 in 3.1.1. */
  readonly retainHandling: 0 | 1 | 2;
}

/** A decoded SUBSCRIBE, MQTT 5.0 §3.8. Filters are strings of valid UTF-8, not yet validated as filters. */
export interface SubscribePacket {
  readonly packetId: number;
  readonly filters: readonly FilterRequest[];
  readonly properties: Properties;
}

/** A decoded UNSUBSCRIBE, MQTT 5.0 §3.10. */
export interface UnsubscribePacket {
  readonly packetId: number;
  readonly filters: readonly string[];
}

/** A decoded SUBACK or UNSUBACK; an UNSUBACK of 3.1.1 has no codes. */
export interface SubackPacket {
  readonly packetId: number;
  readonly reasonCodes: Uint8Array;
}

/** Decodes the body of a SUBSCRIBE. Throws MqttError 0x81 (grammar) or 0x82 (identifier 0, no filter, bad option). */
export function decodeSubscribe(
  version: ProtocolVersion,
  buffer: Uint8Array,
  start: number,
  end: number,
): SubscribePacket {
  const reader = new ByteReader(buffer, start, end);
  const packetId = readPacketId(reader);
  const properties = version === 5 ? readProperties(reader, packetTypes.subscribe) : {};
  const filters: FilterRequest[] = [];
  while (reader.remaining > 0) {
    const filter = reader.utf8();
    const options = reader.uint8();
    if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0)
      throw malformed("reserved bits of subscription options are set");
    const qos = options & 3;
    const retainHandling = options >> 4;
    if (qos === 3) throw protocolError("a subscription asks for QoS 3 (§3.8.3.1)");
    if (retainHandling === 3) throw protocolError("a subscription has retain handling 3 (§3.8.3.1)");
    filters.push({
      filter,
      qos: qos as Qos,
      noLocal: (options & 4) !== 0,
      retainAsPublished: (options & 8) !== 0,
      retainHandling: retainHandling as 0 | 1 | 2,
    });
  }
  if (filters.length === 0) throw protocolError("SUBSCRIBE without a filter (§3.8.3)");
  return { packetId, filters, properties };
}

/** Decodes the body of an UNSUBSCRIBE. Throws MqttError 0x81 or 0x82. */
export function decodeUnsubscribe(
  version: ProtocolVersion,
  buffer: Uint8Array,
  start: number,
  end: number,
): UnsubscribePacket {
  const reader = new ByteReader(buffer, start, end);
  const packetId = readPacketId(reader);
  if (version === 5) readProperties(reader, packetTypes.unsubscribe);
  const filters: string[] = [];
  while (reader.remaining > 0) filters.push(reader.utf8());
  if (filters.length === 0) throw protocolError("UNSUBSCRIBE without a filter (§3.10.3)");
  return { packetId, filters };
}

/** Encodes a SUBSCRIBE; options that are left out are QoS 0, false and 0. */
export function encodeSubscribe(options: {
  readonly version: ProtocolVersion;
  readonly packetId: number;
  readonly filters: readonly (Partial<FilterRequest> & { readonly filter: string })[];
  readonly properties?: Properties;
}): Uint8Array {
  const out = new ByteWriter().uint16(options.packetId);
  if (options.version === 5) writeProperties(out, options.properties);
  for (const { filter, qos = 0, noLocal = false, retainAsPublished = false, retainHandling = 0 } of options.filters) {
    const extras = (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4);
    out.utf8(filter).uint8(options.version === 5 ? qos | extras : qos);
  }
  return out.packet((packetTypes.subscribe << 4) | 2);
}

/** Encodes an UNSUBSCRIBE. */
export function encodeUnsubscribe(options: {
  readonly version: ProtocolVersion;
  readonly packetId: number;
  readonly filters: readonly string[];
}): Uint8Array {
  const out = new ByteWriter().uint16(options.packetId);
  if (options.version === 5) writeProperties(out, undefined);
  for (const filter of options.filters) out.utf8(filter);
  return out.packet((packetTypes.unsubscribe << 4) | 2);
}

/** Encodes a SUBACK; codes of 0x80 and above become 0x80 in 3.1.1, which knows no other failure (§3.9.3). */
export function encodeSuback(version: ProtocolVersion, packetId: number, codes: readonly number[]): Uint8Array {
  const out = new ByteWriter().uint16(packetId);
  if (version === 5) writeProperties(out, undefined);
  for (const code of codes) out.uint8(version === 4 && code >= 0x80 ? 0x80 : code);
  return out.packet(packetTypes.suback << 4);
}

/** Encodes an UNSUBACK; 3.1.1 has no codes (§3.11). */
export function encodeUnsuback(version: ProtocolVersion, packetId: number, codes: readonly number[]): Uint8Array {
  const out = new ByteWriter().uint16(packetId);
  if (version === 5) {
    writeProperties(out, undefined);
    for (const code of codes) out.uint8(code);
  }
  return out.packet(packetTypes.unsuback << 4);
}

/** Decodes the body of a SUBACK or UNSUBACK (`type` says which). Throws MqttError 0x81 or 0x82. */
export function decodeSuback(
  version: ProtocolVersion,
  type: number,
  buffer: Uint8Array,
  start: number,
  end: number,
): SubackPacket {
  const reader = new ByteReader(buffer, start, end);
  const packetId = readPacketId(reader);
  if (version === 5) readProperties(reader, type);
  return { packetId, reasonCodes: new Uint8Array(buffer.subarray(reader.position, end)) };
}

function readPacketId(reader: ByteReader): number {
  const packetId = reader.uint16();
  if (packetId === 0) throw protocolError("packet identifier 0 (§2.2.1)");
  return packetId;
}
