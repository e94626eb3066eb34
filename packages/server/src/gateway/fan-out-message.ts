/** A message on its way to subscribers: encoded at most once per version, QoS and retain flag. */
import {
  type EncodedPublish,
  encodePublishTemplate,
  type ProtocolVersion,
  type PublishProperties,
  type Qos,
  utf8,
} from "@headrace/mqtt";
import type { Place } from "./place.ts";

/** A message as plain data, for the way between threads. */
export interface WireMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties: PublishProperties;
  readonly publisher: string | undefined;
  readonly arrivalMs: number;
}

/** A message whose properties are made only if a receiver of version 5 or another thread needs them. */
export type OutgoingMessage = Omit<WireMessage, "properties" | "arrivalMs"> & {
  readonly properties: PublishProperties | (() => PublishProperties);
};

/** A shared subscription, which gives a message to one of its members. */
export interface Share {
  receive(message: FanOutMessage): boolean;
}

/** What an outbox keeps of a message: the message as one subscription gets it, or a place to read it from. */
export interface Held {
  readonly variant: Variant | undefined;
  /** The group of a shared subscription that it was given out for. */
  readonly share: Share | undefined;
}

/** With a topic alias: none, the packet that sets it, or one that uses it. */
export type AliasUse = 0 | 1 | 2;

const noTopic = new Uint8Array(0);

/** One message with the QoS, retain flag and identifiers of some subscriptions. */
export class Variant implements Held {
  readonly message: FanOutMessage;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly identifiers: readonly number[];
  readonly share = undefined;
  readonly #templates: (EncodedPublish | undefined)[] = [];

  constructor(message: FanOutMessage, qos: Qos, retain: boolean, identifiers: readonly number[]) {
    this.message = message;
    this.qos = qos;
    this.retain = retain;
    this.identifiers = identifiers;
  }

  get variant(): Variant {
    return this;
  }

  /** The packet with a place for its identifier. */
  template(version: ProtocolVersion, aliasUse: AliasUse = 0): EncodedPublish {
    const index = version === 4 ? 3 : aliasUse;
    let template = this.#templates[index];
    if (template === undefined) {
      const { qos, retain } = this;
      const { topicBytes, payload } = this.message;
      const topic = aliasUse === 2 ? noTopic : topicBytes;
      template =
        version === 4
          ? encodePublishTemplate({ version, topic, payload, qos, retain })
          : encodePublishTemplate({
              version,
              topic,
              payload,
              qos,
              retain,
              properties: this.#properties(),
              hasAlias: aliasUse !== 0,
            });
      this.#templates[index] = template;
    }
    return template;
  }

  #properties(): PublishProperties {
    const { properties } = this.message;
    const { identifiers } = this;
    return identifiers.length === 0 ? properties : { ...properties, subscriptionIdentifiers: [...identifiers] };
  }
}

export class FanOutMessage {
  readonly topic: string;
  readonly topicBytes: Uint8Array;
  /** A copy: it stays valid. */
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  #properties: PublishProperties | (() => PublishProperties);
  /** Client that published it; undefined for the node. */
  readonly publisher: string | undefined;
  /** When it came, for its expiry. */
  readonly arrivalMs: number;
  /** Receivers that have it in their durable session already: they are passed over when it is delivered. */
  planned: Set<object> | undefined;
  /** Where its event is stored, when the event may turn out to be a repeat. */
  place: Place | undefined;
  #wire: WireMessage | undefined;
  readonly #variants: (Variant | undefined)[] = [];

  constructor(message: OutgoingMessage, topicBytes: Uint8Array = utf8(message.topic), arrivalMs = Date.now()) {
    this.topic = message.topic;
    this.topicBytes = topicBytes;
    this.payload = message.payload;
    this.qos = message.qos;
    this.retain = message.retain;
    this.#properties = message.properties;
    this.publisher = message.publisher;
    this.arrivalMs = arrivalMs;
  }

  get properties(): PublishProperties {
    if (typeof this.#properties === "function") this.#properties = this.#properties();
    return this.#properties;
  }

  /** The message as a subscription gets it. `identifiers` are those of the subscriptions (version 5). */
  variant(qos: Qos, retain: boolean, identifiers: readonly number[]): Variant {
    if (identifiers.length > 0) return new Variant(this, qos, retain, identifiers);
    const index = (qos << 1) | (retain ? 1 : 0);
    let variant = this.#variants[index];
    if (variant === undefined) {
      variant = new Variant(this, qos, retain, identifiers);
      this.#variants[index] = variant;
    }
    return variant;
  }

  /** The same object each time: in one batch it travels once. */
  toWire(): WireMessage {
    let wire = this.#wire;
    if (wire === undefined) {
      const { topic, payload, qos, retain, properties, publisher, arrivalMs } = this;
      const { correlationData } = properties;
      wire = {
        topic,
        payload: alone(payload),
        qos,
        retain,
        properties:
          correlationData === undefined ? properties : { ...properties, correlationData: alone(correlationData) },
        publisher,
        arrivalMs,
      };
      this.#wire = wire;
    }
    return wire;
  }

  static fromWire(wire: WireMessage): FanOutMessage {
    let message = received.get(wire);
    if (message === undefined) {
      message = new FanOutMessage(wire, undefined, wire.arrivalMs);
      received.set(wire, message);
    }
    return message;
  }
}

/** Messages of a batch, so that one for many clients is encoded once. */
const received = new WeakMap<WireMessage, FanOutMessage>();

/** Bytes that share no memory: of a view, everything that it looks into would travel. */
const alone = (bytes: Uint8Array): Uint8Array =>
  bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);

/** How messages travel between threads. */
export const messageCodec = {
  toWire: (message: FanOutMessage): WireMessage => message.toWire(),
  fromWire: (wire: WireMessage): FanOutMessage => FanOutMessage.fromWire(wire),
  bytesOf: ({ topicBytes, payload }: FanOutMessage): number => topicBytes.byteLength + payload.byteLength,
};
