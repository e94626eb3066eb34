import { ByteReader, ByteWriter } from "./bytes.ts";
import { malformed, reasonCodes } from "./errors.ts";
import { type ProtocolVersion, packetTypes } from "./packet.ts";
import { type Properties, readProperties, writeProperties } from "./properties.ts";

/** A decoded CONNACK, MQTT 5.0 §3.2. */
export interface ConnackPacket {
  readonly sessionPresent: boolean;
  /** Reason code of version 5, return code (0 to 5) of 3.1.1. */
  readonly reasonCode: number;
  readonly properties: Properties;
}

/**
 * Encodes a CONNACK. `reasonCode` is a reason code of version 5; for 3.1.1 it is translated by
 * {@link connackReturnCode}, and the caller must not answer codes for which that gives `undefined`.
 */
export function encodeConnack(options: {
  readonly version: ProtocolVersion;
  readonly reasonCode: number;
  readonly sessionPresent?: boolean;
  readonly properties?: Properties;
}): Uint8Array {
  const out = new ByteWriter().uint8(options.sessionPresent ? 1 : 0);
  if (options.version === 5) writeProperties(out.uint8(options.reasonCode), options.properties);
  else out.uint8(connackReturnCode(options.reasonCode) ?? 3);
  return out.packet(packetTypes.connack << 4);
}

/** Decodes the body of a CONNACK. Throws MqttError 0x81, 0x82. */
export function decodeConnack(version: ProtocolVersion, buffer: Uint8Array, start: number, end: number): ConnackPacket {
  const reader = new ByteReader(buffer, start, end);
  const flags = reader.uint8();
  if (flags > 1) throw malformed("reserved flags of CONNACK are set (§3.2.2.1)");
  const reasonCode = reader.uint8();
  const properties = version === 5 ? readProperties(reader, packetTypes.connack) : {};
  reader.expectEnd("CONNACK");
  return { sessionPresent: flags === 1, reasonCode, properties };
}

/** The return code of MQTT 3.1.1 §3.2.2.3 for a reason code; `undefined` where 3.1.1 can only close. */
export function connackReturnCode(reasonCode: number): number | undefined {
  switch (reasonCode) {
    case reasonCodes.success:
      return 0;
    case reasonCodes.unsupportedProtocolVersion:
      return 1;
    case reasonCodes.clientIdentifierNotValid:
      return 2;
    case reasonCodes.serverUnavailable:
    case reasonCodes.serverBusy:
    case reasonCodes.quotaExceeded:
    case reasonCodes.connectionRateExceeded:
      return 3;
    case reasonCodes.badUserNameOrPassword:
      return 4;
    case reasonCodes.notAuthorized:
    case reasonCodes.banned:
      return 5;
    default:
      return undefined;
  }
}
