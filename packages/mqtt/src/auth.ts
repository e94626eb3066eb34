import { ByteReader, ByteWriter } from "./bytes.ts";
import { malformed, protocolError, reasonCodes } from "./errors.ts";
import { packetTypes } from "./packet.ts";
import { type Properties, readProperties, writeProperties } from "./properties.ts";

/** A decoded AUTH, MQTT 5.0 §3.15. */
export interface AuthPacket {
  /** 0x00 success (from a server), 0x18 continue, 0x19 authenticate again (from a client). */
  readonly reasonCode: number;
  readonly properties: Properties;
}

const codes: readonly number[] = [reasonCodes.success, reasonCodes.continueAuthentication, reasonCodes.reAuthenticate];

/** Encodes an AUTH. */
export function encodeAuth(reasonCode: number, properties: Properties = {}): Uint8Array {
  const out = new ByteWriter().uint8(reasonCode);
  writeProperties(out, properties);
  return out.packet(packetTypes.auth << 4);
}

/** Decodes the body of an AUTH. Throws MqttError 0x81 or 0x82 (no method, §3.15.2.2.2). */
export function decodeAuth(buffer: Uint8Array, start: number, end: number): AuthPacket {
  const reader = new ByteReader(buffer, start, end);
  // §3.15.2.1: without a body it is success without properties, which lacks the method.
  const reasonCode = reader.remaining === 0 ? reasonCodes.success : reader.uint8();
  if (!codes.includes(reasonCode)) throw malformed(`0x${reasonCode.toString(16)} is not a reason code of AUTH`);
  const properties = reader.remaining === 0 ? {} : readProperties(reader, packetTypes.auth);
  reader.expectEnd("AUTH");
  if (properties.authenticationMethod === undefined) throw protocolError("AUTH without a method (§3.15.2.2.2)");
  return { reasonCode, properties };
}
