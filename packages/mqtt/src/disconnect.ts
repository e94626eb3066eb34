import { ByteReader, ByteWriter } from "./bytes.ts";
import { type ProtocolVersion, packetTypes } from "./packet.ts";
import { type Properties, readProperties, writeProperties } from "./properties.ts";

/** A decoded DISCONNECT, MQTT 5.0 §3.14. */
export interface DisconnectPacket {
  readonly reasonCode: number;
  readonly properties: Properties;
}

/** Encodes a DISCONNECT; in 3.1.1 only a client sends one, and it has no reason. */
export function encodeDisconnect(version: ProtocolVersion, reasonCode = 0, reasonString?: string): Uint8Array {
  const out = new ByteWriter();
  if (version === 5 && (reasonCode !== 0 || reasonString !== undefined)) {
    out.uint8(reasonCode);
    if (reasonString !== undefined) writeProperties(out, { reasonString });
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
