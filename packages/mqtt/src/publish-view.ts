import { malformed, protocolError } from "./errors.ts";
import type { Qos } from "./packet.ts";

/**
 * A PUBLISH as offsets into `buffer` (MQTT 5.0 §3.3). One object per scanner, overwritten by the next packet:
 * copy what has to stay.
 */
export interface PublishView {
  buffer: Buffer;
  qos: Qos;
  retain: boolean;
  duplicate: boolean;
  /** 1 to 65,535; 0 for QoS 0. */
  packetId: number;
  topicStart: number;
  topicEnd: number;
  /** The property list without its length; empty in MQTT 3.1.1. */
  propertiesStart: number;
  propertiesEnd: number;
  payloadStart: number;
  payloadEnd: number;
}

/**
 * Fills a view from the body of a PUBLISH, MQTT 5.0 §3.3.2: topic name, packet identifier when QoS > 0, property list
 * in version 5, payload. The topic and the properties are located, not checked.
 *
 * @throws MqttError 0x81 for a body that ends early, 0x82 for packet identifier 0
 */
export function parsePublish(
  view: PublishView,
  hasProperties: boolean,
  firstByte: number,
  buffer: Buffer,
  start: number,
  end: number,
): void {
  if (end - start < 2) throw malformed("PUBLISH ends inside its topic length");
  const qos = ((firstByte >> 1) & 3) as Qos;
  const topicStart = start + 2;
  const topicEnd = topicStart + (((buffer[start] as number) << 8) | (buffer[start + 1] as number));
  let at = topicEnd;
  let packetId = 0;
  if (qos !== 0) {
    at += 2;
    if (at > end) throw malformed("PUBLISH ends inside its topic or packet identifier");
    packetId = ((buffer[topicEnd] as number) << 8) | (buffer[topicEnd + 1] as number);
    if (packetId === 0) throw protocolError("PUBLISH with QoS above 0 has packet identifier 0 (§2.2.1)");
  } else if (at > end) throw malformed("PUBLISH ends inside its topic");
  view.propertiesStart = at;
  view.propertiesEnd = at;
  if (hasProperties) {
    let length = 0;
    let shift = 0;
    for (;;) {
      if (at >= end) throw malformed("PUBLISH ends inside its property length");
      const byte = buffer[at++] as number;
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
      shift += 7;
      if (shift === 28) throw malformed("a property length is longer than four bytes");
    }
    view.propertiesStart = at;
    at += length;
    if (at > end) throw malformed("PUBLISH ends inside its properties");
    view.propertiesEnd = at;
  }
  view.buffer = buffer;
  view.qos = qos;
  view.retain = (firstByte & 1) !== 0;
  view.duplicate = (firstByte & 8) !== 0;
  view.packetId = packetId;
  view.topicStart = topicStart;
  view.topicEnd = topicEnd;
  view.payloadStart = at;
  view.payloadEnd = end;
}
