import { ByteReader, ByteWriter } from "./bytes.ts";
import { MqttError, malformed, protocolError, reasonCodes } from "./errors.ts";
import { type ProtocolVersion, packetTypes, type Qos } from "./packet.ts";
import { type Properties, readProperties, willPlace, writeProperties } from "./properties.ts";

/** The message that the server publishes when the connection ends without DISCONNECT, MQTT 5.0 §3.1.2.5. */
export interface Will {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties?: Properties;
}

/** A decoded CONNECT, MQTT 5.0 §3.1. Its bytes are copies. */
export interface ConnectPacket {
  readonly version: ProtocolVersion;
  readonly clientId: string;
  /** Clean Start in version 5, Clean Session in 3.1.1. */
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly username?: string;
  readonly password?: Uint8Array;
  readonly will?: Will;
  readonly properties: Properties;
}

/** What the first bytes of a CONNECT say about the protocol, readable for versions that we do not speak. */
export interface ConnectProtocol {
  readonly name: string;
  readonly level: number;
}

/** Reads protocol name and level, MQTT 5.0 §3.1.2.1-2. Throws MqttError 0x81 when they are not there. */
export function peekConnectProtocol(buffer: Uint8Array, start: number, end: number): ConnectProtocol {
  const reader = new ByteReader(buffer, start, end);
  const name = reader.utf8();
  return { name, level: reader.uint8() };
}

/**
 * Decodes the body of a CONNECT.
 *
 * @throws MqttError 0x84 for another protocol name or level, 0x81 for bytes that do not follow the grammar, 0x82 for
 *   properties or flags that contradict each other
 */
export function decodeConnect(buffer: Uint8Array, start: number, end: number): ConnectPacket {
  const reader = new ByteReader(buffer, start, end);
  const name = reader.utf8();
  const level = reader.uint8();
  if (name !== "MQTT" || (level !== 4 && level !== 5)) {
    throw new MqttError(reasonCodes.unsupportedProtocolVersion, `protocol level ${level} is not supported`);
  }
  const flags = reader.uint8();
  if ((flags & 0x01) !== 0) throw malformed("the reserved flag of CONNECT is set (§3.1.2.3)");
  const willQos = (flags >> 3) & 3;
  const hasWill = (flags & 0x04) !== 0;
  if (willQos === 3) throw malformed("will QoS 3 (§3.1.2.6)");
  if (!hasWill && (flags & 0x38) !== 0) throw protocolError("will QoS or will retain without a will (§3.1.2.6-7)");
  const hasUsername = (flags & 0x80) !== 0;
  const hasPassword = (flags & 0x40) !== 0;
  if (level === 4 && hasPassword && !hasUsername) throw malformed("a password without a user name (3.1.1 §3.1.2.9)");
  const keepAliveSeconds = reader.uint16();
  const properties = level === 5 ? readProperties(reader, packetTypes.connect) : {};
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolError("authentication data without a method (§3.1.2.11.10)");
  }
  const clientId = reader.utf8();
  const will = hasWill ? readWill(reader, level, willQos as Qos, (flags & 0x20) !== 0) : undefined;
  const username = hasUsername ? reader.utf8() : undefined;
  const password = hasPassword ? reader.binary() : undefined;
  reader.expectEnd("CONNECT");
  return {
    version: level,
    clientId,
    clean: (flags & 0x02) !== 0,
    keepAliveSeconds,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(will !== undefined && { will }),
    properties,
  };
}

function readWill(reader: ByteReader, version: ProtocolVersion, qos: Qos, retain: boolean): Will {
  const properties = version === 5 ? readProperties(reader, willPlace) : undefined;
  const topic = reader.utf8();
  const payload = reader.binary();
  return { topic, payload, qos, retain, ...(properties !== undefined && { properties }) };
}

/** What a client says in CONNECT. */
export interface ConnectOptions {
  readonly version: ProtocolVersion;
  readonly clientId: string;
  readonly username?: string;
  readonly password?: Uint8Array;
  /** Default 60; 0 turns keep alive off. */
  readonly keepAliveSeconds?: number;
  /** Default true. */
  readonly clean?: boolean;
  readonly will?: Will;
  /** Ignored in MQTT 3.1.1. */
  readonly properties?: Properties;
}

/** Encodes a CONNECT, MQTT 5.0 §3.1. */
export function encodeConnect(options: ConnectOptions): Uint8Array {
  const { version, will, username, password } = options;
  const out = new ByteWriter().utf8("MQTT").uint8(version);
  const willFlags = will === undefined ? 0 : 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0);
  const credentials = (username === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40);
  out.uint8(credentials | willFlags | ((options.clean ?? true) ? 0x02 : 0)).uint16(options.keepAliveSeconds ?? 60);
  if (version === 5) writeProperties(out, options.properties);
  out.utf8(options.clientId);
  if (will !== undefined) {
    if (version === 5) writeProperties(out, will.properties);
    out.utf8(will.topic).binary(will.payload);
  }
  if (username !== undefined) out.utf8(username);
  if (password !== undefined) out.binary(password);
  return out.packet(packetTypes.connect << 4);
}
