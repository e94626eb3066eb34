/** A message on its way to subscribers: encoded at most once per version, QoS and retain flag. */
import {
  type EncodedPublish,
  encodePublishTemplate,
  type ProtocolVersion,
  type PublishProperties,
  utf8,
} from "@headrace/mqtt";

/** A message as plain data, for the way between threads. */
export interface WireMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly properties: PublishProperties;
  readonly publisher: string | undefined;
}

/** A message whose properties are made only if a receiver of version 5 or another thread needs them. */
export type OutgoingMessage = Omit<WireMessage, "properties"> & {
  readonly properties: PublishProperties | (() => PublishProperties);
};

export class FanOutMessage {
  readonly topic: string;
  readonly topicBytes: Uint8Array;
  /** A copy: it stays valid. */
  readonly payload: Uint8Array;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  #properties: PublishProperties | (() => PublishProperties);
  /** Client that published it; undefined for the node. */
  readonly publisher: string | undefined;
  readonly #encoded: (EncodedPublish | undefined)[] = [];

  constructor(message: OutgoingMessage, topicBytes: Uint8Array = utf8(message.topic)) {
    this.topic = message.topic;
    this.topicBytes = topicBytes;
    this.payload = message.payload;
    this.qos = message.qos;
    this.retain = message.retain;
    this.#properties = message.properties;
    this.publisher = message.publisher;
  }

  get properties(): PublishProperties {
    if (typeof this.#properties === "function") this.#properties = this.#properties();
    return this.#properties;
  }

  /** The packet with a place for its identifier. `identifiers` are those of the subscriptions (version 5). */
  encode(version: ProtocolVersion, qos: 0 | 1, retain: boolean, identifiers: readonly number[]): EncodedPublish {
    const { topicBytes: topic, payload } = this;
    if (version === 5 && identifiers.length > 0) {
      const properties = { ...this.properties, subscriptionIdentifiers: [...identifiers] };
      return encodePublishTemplate({ version, topic, payload, qos, retain, properties });
    }
    const variant = (version === 5 ? 4 : 0) | (qos << 1) | (retain ? 1 : 0);
    let encoded = this.#encoded[variant];
    if (!encoded) {
      encoded =
        version === 5
          ? encodePublishTemplate({ version, topic, payload, qos, retain, properties: this.properties })
          : encodePublishTemplate({ version, topic, payload, qos, retain });
      this.#encoded[variant] = encoded;
    }
    return encoded;
  }

  toWire(): WireMessage {
    const { topic, payload, qos, retain, properties, publisher } = this;
    return { topic, payload, qos, retain, properties, publisher };
  }
}
