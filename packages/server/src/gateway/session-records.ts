/**
 * What the log `sessions` says of one session: events whose key is the client id and whose payload is one record. A record
 * is a kind and, little endian, its fields; what happens rarely is JSON.
 */
import { decodeProperties, type EventProperties, encodeProperties, viewOf } from "@headrace/engine";
import type { Qos, Subscription, Will } from "@headrace/mqtt";
import { FanOutMessage } from "./fan-out-message.ts";
import type { Place } from "./place.ts";

const kinds = {
  begin: 1,
  attach: 2,
  detach: 3,
  end: 4,
  subscribe: 5,
  unsubscribe: 6,
  queue: 7,
  copy: 8,
  assign: 9,
  drop: 10,
  acknowledged: 11,
  received: 12,
  took: 13,
  released: 14,
  willGone: 15,
} as const;

/** A will as it is written down. */
export interface KeptWill {
  readonly topic: string;
  readonly payload: string;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties: string;
  readonly delaySeconds: number;
}

/** A connection begins. */
export interface Attached {
  readonly identity?: string | undefined;
  readonly expirySeconds: number;
  readonly will?: KeptWill | undefined;
}

/** A connection ended. */
export interface Detached {
  readonly atMs: number;
  readonly expirySeconds: number;
  /** When the will is due; absent when there is none. */
  readonly willDueMs?: number;
}

/** A message for the client: where it is, or itself. */
export interface QueuedMessage {
  /** Number of the entry in its session. */
  readonly number: number;
  /** 0 while it waits. */
  readonly packetId: number;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly isReceived: boolean;
  readonly bytes: number;
  readonly arrivalMs: number;
  readonly identifiers: readonly number[];
}

export type SessionRecord =
  | { readonly kind: "begin" | "attach"; readonly attached: Attached }
  | { readonly kind: "detach"; readonly detached: Detached }
  | { readonly kind: "end" | "willGone" }
  | { readonly kind: "subscribe"; readonly subscription: Subscription }
  | { readonly kind: "unsubscribe"; readonly filter: string }
  | { readonly kind: "queue"; readonly queued: QueuedMessage; readonly place: Place }
  | { readonly kind: "copy"; readonly queued: QueuedMessage; readonly message: FanOutMessage }
  | { readonly kind: "assign"; readonly number: number; readonly packetId: number }
  | { readonly kind: "drop"; readonly number: number }
  | { readonly kind: "acknowledged" | "received" | "took" | "released"; readonly packetId: number };

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const headBytes = 22;

/** Packs a record. */
export const encodeRecord = (record: SessionRecord): Uint8Array => {
  switch (record.kind) {
    case "begin":
    case "attach":
      return json(kinds[record.kind], record.attached);
    case "detach":
      return json(kinds.detach, record.detached);
    case "subscribe":
      return json(kinds.subscribe, record.subscription);
    case "unsubscribe":
      return json(kinds.unsubscribe, record.filter);
    case "end":
    case "willGone":
      return Uint8Array.of(kinds[record.kind]);
    case "queue":
      return encodePlace(record.queued, record.place);
    case "copy":
      return encodeCopy(record.queued, record.message);
    case "assign": {
      const out = new Uint8Array(7);
      const view = viewOf(out);
      out[0] = kinds.assign;
      view.setUint32(1, record.number, true);
      view.setUint16(5, record.packetId, true);
      return out;
    }
    case "drop": {
      const out = new Uint8Array(5);
      out[0] = kinds.drop;
      viewOf(out).setUint32(1, record.number, true);
      return out;
    }
    default:
      return Uint8Array.of(kinds[record.kind], record.packetId & 0xff, record.packetId >>> 8);
  }
};

const json = (kind: number, value: unknown): Uint8Array => {
  const text = encoder.encode(JSON.stringify(value));
  const out = new Uint8Array(1 + text.byteLength);
  out[0] = kind;
  out.set(text, 1);
  return out;
};

const head = (
  kind: number,
  queued: QueuedMessage,
  moreBytes: number,
): { out: Uint8Array; view: DataView; at: number } => {
  const out = new Uint8Array(headBytes + queued.identifiers.length * 4 + moreBytes);
  const view = viewOf(out);
  out[0] = kind;
  view.setUint32(1, queued.number, true);
  view.setUint16(5, queued.packetId, true);
  out[7] = queued.qos | (queued.retain ? 4 : 0) | (queued.isReceived ? 8 : 0);
  view.setUint32(8, queued.bytes, true);
  view.setFloat64(12, queued.arrivalMs, true);
  view.setUint16(20, queued.identifiers.length, true);
  let at = headBytes;
  for (const identifier of queued.identifiers) {
    view.setUint32(at, identifier, true);
    at += 4;
  }
  return { out, view, at };
};

const encodePlace = (queued: QueuedMessage, place: Place): Uint8Array => {
  const { out, view, at } = head(kinds.queue, queued, 14);
  view.setUint32(at, place.logId, true);
  view.setUint16(at + 4, place.writer, true);
  view.setFloat64(at + 6, place.sequence, true);
  return out;
};

const encodeCopy = (queued: QueuedMessage, message: FanOutMessage): Uint8Array => {
  const { topicBytes, payload } = message;
  const properties = encodeProperties(message.properties);
  const { out, view, at } = head(kinds.copy, queued, 6 + topicBytes.length + properties.length + payload.length);
  view.setUint16(at, topicBytes.length, true);
  view.setUint32(at + 2, properties.length, true);
  out.set(topicBytes, at + 6);
  out.set(properties, at + 6 + topicBytes.length);
  out.set(payload, at + 6 + topicBytes.length + properties.length);
  return out;
};

/** Unpacks a record; undefined for a kind of a later version. */
export const decodeRecord = (bytes: Uint8Array): SessionRecord | undefined => {
  const view = viewOf(bytes);
  const text = (): string => decoder.decode(bytes.subarray(1));
  switch (bytes[0]) {
    case kinds.begin:
      return { kind: "begin", attached: JSON.parse(text()) as Attached };
    case kinds.attach:
      return { kind: "attach", attached: JSON.parse(text()) as Attached };
    case kinds.detach:
      return { kind: "detach", detached: JSON.parse(text()) as Detached };
    case kinds.end:
      return { kind: "end" };
    case kinds.willGone:
      return { kind: "willGone" };
    case kinds.subscribe:
      return { kind: "subscribe", subscription: JSON.parse(text()) as Subscription };
    case kinds.unsubscribe:
      return { kind: "unsubscribe", filter: JSON.parse(text()) as string };
    case kinds.queue:
    case kinds.copy:
      return decodeQueued(bytes, view);
    case kinds.assign:
      return { kind: "assign", number: view.getUint32(1, true), packetId: view.getUint16(5, true) };
    case kinds.drop:
      return { kind: "drop", number: view.getUint32(1, true) };
    case kinds.acknowledged:
      return { kind: "acknowledged", packetId: view.getUint16(1, true) };
    case kinds.received:
      return { kind: "received", packetId: view.getUint16(1, true) };
    case kinds.took:
      return { kind: "took", packetId: view.getUint16(1, true) };
    case kinds.released:
      return { kind: "released", packetId: view.getUint16(1, true) };
    default:
      return undefined;
  }
};

const decodeQueued = (bytes: Uint8Array, view: DataView): SessionRecord => {
  const flags = bytes[7] as number;
  const count = view.getUint16(20, true);
  const identifiers: number[] = [];
  for (let index = 0; index < count; index += 1) identifiers.push(view.getUint32(headBytes + index * 4, true));
  const queued: QueuedMessage = {
    number: view.getUint32(1, true),
    packetId: view.getUint16(5, true),
    qos: (flags & 3) === 2 ? 2 : 1,
    retain: (flags & 4) !== 0,
    isReceived: (flags & 8) !== 0,
    bytes: view.getUint32(8, true),
    arrivalMs: view.getFloat64(12, true),
    identifiers,
  };
  const at = headBytes + count * 4;
  if (bytes[0] === kinds.queue) {
    const sequence = view.getFloat64(at + 6, true);
    return {
      kind: "queue",
      queued,
      place: { logId: view.getUint32(at, true), writer: view.getUint16(at + 4, true), sequence },
    };
  }
  const topicEnd = at + 6 + view.getUint16(at, true);
  const payloadStart = topicEnd + view.getUint32(at + 2, true);
  const message = new FanOutMessage(
    {
      topic: decoder.decode(bytes.subarray(at + 6, topicEnd)),
      payload: bytes.slice(payloadStart),
      qos: queued.qos,
      retain: queued.retain,
      properties: eventProperties(bytes, topicEnd, payloadStart),
      publisher: undefined,
    },
    undefined,
    queued.arrivalMs,
  );
  return { kind: "copy", queued, message };
};

/** Properties of a PUBLISH from those of an event. */
export const publishProperties = ({
  messageExpirySeconds,
  contentType,
  responseTopic,
  correlationData,
  userProperties,
  payloadFormat,
}: EventProperties): FanOutMessage["properties"] => ({
  ...(messageExpirySeconds !== undefined && { messageExpirySeconds }),
  ...(contentType !== undefined && { contentType }),
  ...(responseTopic !== undefined && { responseTopic }),
  ...(correlationData !== undefined && { correlationData }),
  ...(userProperties && { userProperties }),
  ...(payloadFormat !== undefined && { payloadFormat: payloadFormat === 1 ? 1 : 0 }),
});

const eventProperties = (bytes: Uint8Array, start: number, end: number): FanOutMessage["properties"] =>
  publishProperties(decodeProperties(bytes.subarray(start, end)));

export const keepWill = ({ topic, payload, qos, retain, properties }: Will): KeptWill => ({
  topic,
  payload: Buffer.from(payload).toString("base64"),
  qos,
  retain,
  properties: Buffer.from(encodeProperties(properties ?? {})).toString("base64"),
  delaySeconds: properties?.willDelaySeconds ?? 0,
});

export const willOf = (kept: KeptWill): Will => {
  const properties = Buffer.from(kept.properties, "base64");
  return {
    topic: kept.topic,
    payload: Buffer.from(kept.payload, "base64"),
    qos: kept.qos,
    retain: kept.retain,
    properties: { ...eventProperties(properties, 0, properties.length), willDelaySeconds: kept.delaySeconds },
  };
};
