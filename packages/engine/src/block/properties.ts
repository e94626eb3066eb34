import { type EventProperties, propertyType } from "./event-format.ts";
import { corrupt, viewOf } from "./header.ts";
import { utf8Bytes, utf8BytesMax, writeUtf8 } from "./utf8.ts";

const decoder = new TextDecoder();

const number = (value: number, bytes: 4 | 8): Uint8Array => {
  const out = new Uint8Array(bytes);
  if (bytes === 4) viewOf(out).setUint32(0, value, true);
  else viewOf(out).setFloat64(0, value, true);
  return out;
};

const pair = (name: string, value: string): Uint8Array => {
  const nameBytes = utf8Bytes(name);
  const valueBytes = utf8Bytes(value);
  const out = new Uint8Array(2 + nameBytes.byteLength + valueBytes.byteLength);
  viewOf(out).setUint16(0, nameBytes.byteLength, true);
  out.set(nameBytes, 2);
  out.set(valueBytes, 2 + nameBytes.byteLength);
  return out;
};

/** Lengths of the properties that are numbers. */
const fixedLengths: Readonly<Record<number, number>> = {
  [propertyType.messageExpirySeconds]: 4,
  [propertyType.deviceTimeMs]: 8,
  [propertyType.payloadFormat]: 4,
};

/** Packs the properties of an envelope; empty when there are none. */
export const encodeProperties = (properties: EventProperties): Uint8Array => {
  const parts: { type: number; bytes: Uint8Array }[] = [];
  const put = (type: number, bytes: Uint8Array): void => {
    parts.push({ type, bytes });
  };
  if (properties.messageExpirySeconds !== undefined)
    put(propertyType.messageExpirySeconds, number(properties.messageExpirySeconds, 4));
  if (properties.contentType !== undefined) put(propertyType.contentType, utf8Bytes(properties.contentType));
  if (properties.responseTopic !== undefined) put(propertyType.responseTopic, utf8Bytes(properties.responseTopic));
  if (properties.correlationData !== undefined) put(propertyType.correlationData, properties.correlationData);
  for (const [name, value] of properties.userProperties ?? []) put(propertyType.userProperty, pair(name, value));
  if (properties.deviceTimeMs !== undefined) put(propertyType.deviceTimeMs, number(properties.deviceTimeMs, 8));
  if (properties.cause !== undefined) put(propertyType.cause, utf8Bytes(properties.cause));
  if (properties.payloadFormat !== undefined) put(propertyType.payloadFormat, number(properties.payloadFormat, 4));
  let byteLength = 0;
  for (const part of parts) byteLength += 4 + part.bytes.byteLength;
  const out = new Uint8Array(byteLength);
  const view = viewOf(out);
  let at = 0;
  for (const part of parts) {
    view.setUint8(at, part.type);
    view.setUint8(at + 1, part.bytes.byteLength >>> 16);
    view.setUint16(at + 2, part.bytes.byteLength & 0xffff, true);
    out.set(part.bytes, at + 4);
    at += 4 + part.bytes.byteLength;
  }
  return out;
};

let causeBytes = new Uint8Array(1024);

/** As {@link encodeProperties} with nothing but a cause, which is all that a task's outputs carry. Valid until the next call. */
export const encodeCause = (cause: string): Uint8Array => {
  if (4 + utf8BytesMax(cause) > causeBytes.byteLength) causeBytes = new Uint8Array(8 + 2 * utf8BytesMax(cause));
  const end = writeUtf8(causeBytes, 4, cause);
  causeBytes[0] = propertyType.cause;
  causeBytes[1] = (end - 4) >>> 16;
  causeBytes[2] = (end - 4) & 0xff;
  causeBytes[3] = ((end - 4) >>> 8) & 0xff;
  return causeBytes.subarray(0, end);
};

/** Unpacks what {@link encodeProperties} packed. */
export const decodeProperties = (bytes: Uint8Array): EventProperties => {
  const properties: EventProperties = {};
  const view = viewOf(bytes);
  let at = 0;
  while (at < bytes.byteLength) {
    if (at + 4 > bytes.byteLength) throw corrupt("an event property is cut");
    const type = view.getUint8(at);
    const start = at + 4;
    const end = start + view.getUint8(at + 1) * 0x10000 + view.getUint16(at + 2, true);
    if (end > bytes.byteLength) throw corrupt("an event property is longer than its record");
    const content = bytes.subarray(start, end);
    const fixedBytes = fixedLengths[type];
    if (fixedBytes !== undefined && content.byteLength !== fixedBytes) throw corrupt(`event property ${type} is cut`);
    if (type === propertyType.messageExpirySeconds) properties.messageExpirySeconds = view.getUint32(start, true);
    else if (type === propertyType.contentType) properties.contentType = decoder.decode(content);
    else if (type === propertyType.responseTopic) properties.responseTopic = decoder.decode(content);
    else if (type === propertyType.correlationData) properties.correlationData = content.slice();
    else if (type === propertyType.userProperty) {
      const nameEnd = content.byteLength < 2 ? 2 : 2 + view.getUint16(start, true);
      if (nameEnd > content.byteLength) throw corrupt("a user property is cut");
      properties.userProperties ??= [];
      properties.userProperties.push([
        decoder.decode(content.subarray(2, nameEnd)),
        decoder.decode(content.subarray(nameEnd)),
      ]);
    } else if (type === propertyType.deviceTimeMs) properties.deviceTimeMs = view.getFloat64(start, true);
    else if (type === propertyType.cause) properties.cause = decoder.decode(content);
    else if (type === propertyType.payloadFormat) properties.payloadFormat = view.getUint32(start, true);
    at = end;
  }
  return properties;
};
