import { ByteReader, ByteWriter } from "./bytes.ts";
import { malformed, protocolError } from "./errors.ts";
import { type ProtocolVersion, packetTypes } from "./packet.ts";
import { readProperties, writeProperties } from "./properties.ts";

/** Bytes of a PUBACK that says success. */
export const pubackBytes = 4;

/** A decoded PUBACK, PUBREC, PUBREL or PUBCOMP, MQTT 5.0 §3.4 to §3.7. */
export interface Acknowledgement {
  readonly packetId: number;
  /** 0 in 3.1.1. */
  readonly reasonCode: number;
}

/** Writes a successful PUBACK (both versions, §3.4.2.1) and returns the offset behind its four bytes. */
export function encodePuback(out: Uint8Array, offset: number, packetId: number): number {
  out[offset] = 0x40;
  out[offset + 1] = 2;
  out[offset + 2] = packetId >>> 8;
  out[offset + 3] = packetId & 0xff;
  return offset + 4;
}

/**
 * Encodes a PUBACK, PUBREC, PUBREL or PUBCOMP of version 5 with a reason code. In 3.1.1 the code and the reason
 * string are left out, so the caller must not use it to refuse.
 */
export function encodeAcknowledgement(options: {
  readonly version: ProtocolVersion;
  /** One of `packetTypes.puback`, `pubrec`, `pubrel`, `pubcomp`. */
  readonly type: number;
  readonly packetId: number;
  readonly reasonCode?: number;
  readonly reasonString?: string;
}): Uint8Array {
  const out = new ByteWriter().uint16(options.packetId);
  const { reasonCode = 0, reasonString } = options;
  if (options.version === 5 && (reasonCode !== 0 || reasonString !== undefined)) {
    out.uint8(reasonCode);
    if (reasonString !== undefined) writeProperties(out, { reasonString });
  }
  return out.packet((options.type << 4) | (options.type === packetTypes.pubrel ? 2 : 0));
}

/** The packet identifier of a PUBACK that has only that (the common case), else 0: use {@link decodeAcknowledgement}. */
export function shortPuback(buffer: Uint8Array, start: number, end: number): number {
  return end - start === 2 ? ((buffer[start] as number) << 8) | (buffer[start + 1] as number) : 0;
}

/** Decodes the body of a PUBACK, PUBREC, PUBREL or PUBCOMP. Throws MqttError 0x81 or 0x82 (packet identifier 0). */
export function decodeAcknowledgement(
  version: ProtocolVersion,
  type: number,
  buffer: Uint8Array,
  start: number,
  end: number,
): Acknowledgement {
  const reader = new ByteReader(buffer, start, end);
  const packetId = reader.uint16();
  if (packetId === 0) throw protocolError("an acknowledgement has packet identifier 0 (§2.2.1)");
  let reasonCode = 0;
  if (version === 5 && reader.remaining > 0) {
    reasonCode = reader.uint8();
    if (!known(type, reasonCode)) throw malformed(`0x${reasonCode.toString(16)} is not a reason code of this packet`);
    if (reader.remaining > 0) readProperties(reader, type);
  }
  reader.expectEnd("an acknowledgement");
  return { packetId, reasonCode };
}

const publishCodes = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const releaseCodes = [0x00, 0x92];

function known(type: number, code: number): boolean {
  return (type === packetTypes.puback || type === packetTypes.pubrec ? publishCodes : releaseCodes).includes(code);
}
