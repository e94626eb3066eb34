/** What a durable session holds of a message for its client: where it is, and the message itself while that is in memory. */
import type { Qos } from "@headrace/mqtt";
import type { Held, Share, Variant } from "./fan-out-message.ts";
import type { Place } from "./place.ts";
import type { QueuedMessage } from "./session-records.ts";

export interface StoredOptions {
  readonly number: number;
  readonly variant: Variant | undefined;
  /** Undefined when the session log holds a copy. */
  readonly place: Place | undefined;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly identifiers: readonly number[];
  readonly bytes: number;
  readonly arrivalMs: number;
  readonly share?: Share | undefined;
}

export class Stored implements Held {
  variant: Variant | undefined;
  /** Number of the entry in its session. */
  readonly number: number;
  readonly place: Place | undefined;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  readonly identifiers: readonly number[];
  readonly bytes: number;
  readonly arrivalMs: number;
  readonly share: Share | undefined;

  constructor(options: StoredOptions) {
    this.variant = options.variant;
    this.number = options.number;
    this.place = options.place;
    this.qos = options.qos;
    this.retain = options.retain;
    this.identifiers = options.identifiers;
    this.bytes = options.bytes;
    this.arrivalMs = options.arrivalMs;
    this.share = options.share;
  }

  /** As the log keeps it. */
  queued(packetId: number, isReceived = false): QueuedMessage {
    const { number, qos, retain, bytes, arrivalMs, identifiers } = this;
    return { number, packetId, qos, retain, isReceived, bytes, arrivalMs, identifiers };
  }
}

/** Bytes of a PUBLISH, about: enough for its bounds before it is encoded. */
export const publishBytes = ({ variant }: { readonly variant: Variant }): number =>
  variant.message.payload.byteLength + variant.message.topicBytes.byteLength + 16;

/** The QoS at which a subscription gets a message. */
export const lowerQos = (a: Qos, b: Qos): Qos => (a < b ? a : b);
