import { ByteReader, ByteWriter } from "./bytes.ts";
import { MqttError, malformed, protocolError, reasonCodes } from "./errors.ts";
import { packetTypes } from "./packet.ts";

/** All properties of MQTT 5.0 §2.2.2.2; which of them a packet may carry is checked while decoding. */
export interface Properties {
  /** 0 is unspecified bytes, 1 is UTF-8 text. */
  payloadFormat?: 0 | 1;
  messageExpirySeconds?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  subscriptionIdentifiers?: number[];
  sessionExpirySeconds?: number;
  assignedClientIdentifier?: string;
  serverKeepAliveSeconds?: number;
  authenticationMethod?: string;
  authenticationData?: Uint8Array;
  requestProblemInformation?: boolean;
  willDelaySeconds?: number;
  requestResponseInformation?: boolean;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQos?: 0 | 1;
  retainAvailable?: boolean;
  /** In the order in which they were sent; a name may repeat. */
  userProperties?: [name: string, value: string][];
  maximumPacketSize?: number;
  wildcardSubscriptionAvailable?: boolean;
  subscriptionIdentifiersAvailable?: boolean;
  sharedSubscriptionAvailable?: boolean;
}

/** The properties that a PUBLISH may carry, MQTT 5.0 §3.3.2.3. */
export type PublishProperties = Pick<
  Properties,
  | "payloadFormat"
  | "messageExpirySeconds"
  | "topicAlias"
  | "responseTopic"
  | "correlationData"
  | "userProperties"
  | "subscriptionIdentifiers"
  | "contentType"
>;

/**
 * The most user properties in one packet. The specification sets no bound; without one a single packet of the
 * permitted size makes tens of thousands of objects (mosquitto's 2.0.12 denial of service).
 */
export const userPropertiesMax = 128;

/** The place of the properties of a will, MQTT 5.0 §3.1.3.2; not a packet type, but it has its own list. */
export const willPlace = 0;

const { connect, connack, publish, puback, pubrec, pubrel, pubcomp, subscribe, suback, unsuback } = packetTypes;
const { disconnect, auth } = packetTypes;
const bits = (...places: number[]): number => places.reduce((mask, place) => mask | (1 << place), 0);

// Table 2-4 of the specification: identifier → packets that may carry it.
const allowed: number[] = [];
allowed[0x01] = bits(publish, willPlace);
allowed[0x02] = bits(publish, willPlace);
allowed[0x03] = bits(publish, willPlace);
allowed[0x08] = bits(publish, willPlace);
allowed[0x09] = bits(publish, willPlace);
allowed[0x0b] = bits(publish, subscribe);
allowed[0x11] = bits(connect, connack, disconnect);
allowed[0x12] = bits(connack);
allowed[0x13] = bits(connack);
allowed[0x15] = bits(connect, connack, auth);
allowed[0x16] = bits(connect, connack, auth);
allowed[0x17] = bits(connect);
allowed[0x18] = bits(willPlace);
allowed[0x19] = bits(connect);
allowed[0x1a] = bits(connack);
allowed[0x1c] = bits(connack, disconnect);
allowed[0x1f] = bits(connack, puback, pubrec, pubrel, pubcomp, suback, unsuback, disconnect, auth);
allowed[0x21] = bits(connect, connack);
allowed[0x22] = bits(connect, connack);
allowed[0x23] = bits(publish);
allowed[0x24] = bits(connack);
allowed[0x25] = bits(connack);
allowed[0x26] = 0xffff & ~(bits(packetTypes.pingreq) | bits(packetTypes.pingresp));
allowed[0x27] = bits(connect, connack);
allowed[0x28] = bits(connack);
allowed[0x29] = bits(connack);
allowed[0x2a] = bits(connack);

/**
 * Decodes a property list: its length and its properties (MQTT 5.0 §2.2.2).
 *
 * @param place packet type that carries the list, or {@link willPlace}
 * @throws MqttError 0x81 for bytes that end early or an unknown identifier, 0x82 for a property that repeats, is not
 *   allowed here or has a forbidden value, 0x94 for topic alias 0, 0x97 above {@link userPropertiesMax}
 */
export function readProperties(reader: ByteReader, place: number): Properties {
  const length = reader.varint();
  return decodeProperties(reader.section(length), place);
}

/** Decodes the properties of a PUBLISH from the range that the scanner found; errors as {@link readProperties}. */
export function decodePublishProperties(buffer: Uint8Array, start: number, end: number): PublishProperties {
  return decodeProperties(new ByteReader(buffer, start, end), publish);
}

function decodeProperties(reader: ByteReader, place: number): Properties {
  const properties: Properties = {};
  let seenLow = 0;
  let seenHigh = 0;
  while (reader.remaining > 0) {
    const id = reader.varint();
    const places = allowed[id];
    if (places === undefined) throw malformed(`property 0x${id.toString(16)} does not exist`);
    if ((places & (1 << place)) === 0) throw protocolError(`property 0x${id.toString(16)} is not allowed here`);
    const mayRepeat = id === 0x26 || (id === 0x0b && place === publish);
    if (!mayRepeat) {
      const bit = 1 << (id & 31);
      if (((id < 32 ? seenLow : seenHigh) & bit) !== 0) {
        throw protocolError(`property 0x${id.toString(16)} occurs twice`);
      }
      if (id < 32) seenLow |= bit;
      else seenHigh |= bit;
    }
    readProperty(reader, id, properties);
  }
  return properties;
}

function readProperty(reader: ByteReader, id: number, properties: Properties): void {
  switch (id) {
    case 0x01:
      properties.payloadFormat = bit(reader);
      break;
    case 0x02:
      properties.messageExpirySeconds = reader.uint32();
      break;
    case 0x03:
      properties.contentType = reader.utf8();
      break;
    case 0x08:
      properties.responseTopic = responseTopic(reader);
      break;
    case 0x09:
      properties.correlationData = reader.binary();
      break;
    case 0x0b:
      properties.subscriptionIdentifiers ??= [];
      properties.subscriptionIdentifiers.push(positive(reader.varint()));
      break;
    case 0x11:
      properties.sessionExpirySeconds = reader.uint32();
      break;
    case 0x12:
      properties.assignedClientIdentifier = reader.utf8();
      break;
    case 0x13:
      properties.serverKeepAliveSeconds = reader.uint16();
      break;
    case 0x15:
      properties.authenticationMethod = reader.utf8();
      break;
    case 0x16:
      properties.authenticationData = reader.binary();
      break;
    case 0x17:
      properties.requestProblemInformation = bit(reader) === 1;
      break;
    case 0x18:
      properties.willDelaySeconds = reader.uint32();
      break;
    case 0x19:
      properties.requestResponseInformation = bit(reader) === 1;
      break;
    case 0x1a:
      properties.responseInformation = reader.utf8();
      break;
    case 0x1c:
      properties.serverReference = reader.utf8();
      break;
    case 0x1f:
      properties.reasonString = reader.utf8();
      break;
    case 0x21:
      properties.receiveMaximum = positive(reader.uint16());
      break;
    case 0x22:
      properties.topicAliasMaximum = reader.uint16();
      break;
    case 0x23:
      properties.topicAlias = reader.uint16();
      if (properties.topicAlias === 0) throw new MqttError(reasonCodes.topicAliasInvalid, "topic alias 0 (§3.3.2.3.4)");
      break;
    case 0x24:
      properties.maximumQos = bit(reader);
      break;
    case 0x25:
      properties.retainAvailable = bit(reader) === 1;
      break;
    case 0x26: {
      properties.userProperties ??= [];
      if (properties.userProperties.length >= userPropertiesMax) {
        throw new MqttError(reasonCodes.quotaExceeded, `more than ${userPropertiesMax} user properties`);
      }
      const name = reader.utf8();
      properties.userProperties.push([name, reader.utf8()]);
      break;
    }
    case 0x27:
      properties.maximumPacketSize = positive(reader.uint32());
      break;
    case 0x28:
      properties.wildcardSubscriptionAvailable = bit(reader) === 1;
      break;
    case 0x29:
      properties.subscriptionIdentifiersAvailable = bit(reader) === 1;
      break;
    case 0x2a:
      properties.sharedSubscriptionAvailable = bit(reader) === 1;
      break;
    default:
      throw malformed(`property 0x${id.toString(16)} does not exist`);
  }
}

function bit(reader: ByteReader): 0 | 1 {
  const value = reader.uint8();
  if (value !== 0 && value !== 1) throw protocolError(`a property that is 0 or 1 has value ${value}`);
  return value;
}

function positive(value: number): number {
  if (value === 0) throw protocolError("a property that must not be 0 is 0");
  return value;
}

// §3.3.2.3.5: the response topic is a topic name, so it has no wildcards.
function responseTopic(reader: ByteReader): string {
  const topic = reader.utf8();
  if (topic === "" || /[+#]/.test(topic)) throw protocolError("a response topic is empty or contains a wildcard");
  return topic;
}

/** Appends a property list with its length; `undefined` is an empty list. The caller chooses properties that fit. */
export function writeProperties(out: ByteWriter, properties: Properties | undefined): void {
  if (properties === undefined) {
    out.uint8(0);
    return;
  }
  const bytes = propertyList(properties);
  out.varint(bytes.length).raw(bytes);
}

/** A property list without its length. Payload format comes first, then message expiry, whatever else there is. */
export function propertyList(properties: Properties): Uint8Array {
  const list = new ByteWriter();
  const flag = (id: number, value: boolean | undefined): void => {
    if (value !== undefined) list.uint8(id).uint8(value ? 1 : 0);
  };
  const byte = (id: number, value: number | undefined): void => {
    if (value !== undefined) list.uint8(id).uint8(value);
  };
  const short = (id: number, value: number | undefined): void => {
    if (value !== undefined) list.uint8(id).uint16(value);
  };
  const long = (id: number, value: number | undefined): void => {
    if (value !== undefined) list.uint8(id).uint32(value);
  };
  const text = (id: number, value: string | undefined): void => {
    if (value !== undefined) list.uint8(id).utf8(value);
  };
  const binary = (id: number, value: Uint8Array | undefined): void => {
    if (value !== undefined) list.uint8(id).binary(value);
  };
  byte(0x01, properties.payloadFormat);
  long(0x02, properties.messageExpirySeconds);
  text(0x03, properties.contentType);
  text(0x08, properties.responseTopic);
  binary(0x09, properties.correlationData);
  for (const identifier of properties.subscriptionIdentifiers ?? []) list.uint8(0x0b).varint(identifier);
  long(0x11, properties.sessionExpirySeconds);
  text(0x12, properties.assignedClientIdentifier);
  short(0x13, properties.serverKeepAliveSeconds);
  text(0x15, properties.authenticationMethod);
  binary(0x16, properties.authenticationData);
  flag(0x17, properties.requestProblemInformation);
  long(0x18, properties.willDelaySeconds);
  flag(0x19, properties.requestResponseInformation);
  text(0x1a, properties.responseInformation);
  text(0x1c, properties.serverReference);
  text(0x1f, properties.reasonString);
  short(0x21, properties.receiveMaximum);
  short(0x22, properties.topicAliasMaximum);
  short(0x23, properties.topicAlias);
  byte(0x24, properties.maximumQos);
  flag(0x25, properties.retainAvailable);
  for (const [name, value] of properties.userProperties ?? []) list.uint8(0x26).utf8(name).utf8(value);
  long(0x27, properties.maximumPacketSize);
  flag(0x28, properties.wildcardSubscriptionAvailable);
  flag(0x29, properties.subscriptionIdentifiersAvailable);
  flag(0x2a, properties.sharedSubscriptionAvailable);
  return list.bytes();
}
