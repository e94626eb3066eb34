import { ByteReader, ByteWriter } from "./bytes.ts";
import { malformed, reasonCodes } from "./errors.ts";
import { type ProtocolVersion, packetTypes } from "./packet.ts";
import { type Properties, readProperties, writeProperties } from "./properties.ts";

/** A decoded DISCONNECT, MQTT 5.0 §3.14. */
export interface DisconnectPacket {
  readonly reasonCode: number;
  readonly properties: Properties;
}

/** Encodes a DISCONNECT; in 3.1.1 only a client sends one, and it has no reason. */
export function encodeDisconnect(
  version: ProtocolVersion,
  reasonCode = 0,
  reasonString?: string,
  more: Properties = {},
): Uint8Array {
  const out = new ByteWriter();
  const properties: Properties = { ...more, ...(reasonString !== undefined && { reasonString }) };
  const isEmpty = Object.keys(properties).length === 0;
  if (version === 5 && (reasonCode !== 0 || !isEmpty)) {
    out.uint8(reasonCode);
    if (!isEmpty) writeProperties(out, properties);
  }
  return out.packet(packetTypes.disconnect << 4);
}

/** Decodes the body of a DISCONNECT. Throws MqttError 0x81 or 0x82. */
export function decodeDisconnect(
  version: ProtocolVersion,
  buffer: Uint8Array,
  start: number,
  end: number,
): DisconnectPacket {
  const reader = new ByteReader(buffer, start, end);
  let reasonCode = 0;
  let properties: Properties = {};
  if (version === 5 && reader.remaining > 0) {
    reasonCode = reader.uint8();
    // A client says no more than this (§3.14.2.1); 0x01 to 0x03 and 0x05 to 0x7F are no reasons of DISCONNECT.
    if (reasonCode < 0x80 && reasonCode !== 0 && reasonCode !== reasonCodes.disconnectWithWill) {
      throw malformed(`0x${reasonCode.toString(16)} is not a reason code of DISCONNECT`);
    }
    if (reader.remaining > 0) properties = readProperties(reader, packetTypes.disconnect);
  }
  reader.expectEnd("DISCONNECT");
  return { reasonCode, properties };
}

/** A new PINGREQ, MQTT 5.0 §3.12. */
export function encodePingreq(): Uint8Array {
  return Uint8Array.of(packetTypes.pingreq << 4, 0);
}

/** A new PINGRESP, MQTT 5.0 §3.13. */
export function encodePingresp(): Uint8Array {
  return Uint8Array.of(packetTypes.pingresp << 4, 0);
}
