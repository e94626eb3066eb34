/** Who receives a topic, for messages that come without a route of their own: worked out once, until subscriptions change. */
import { utf8 } from "@headrace/mqtt";
import type { DeliveryCache, Subscribers } from "./subscribers.ts";

/** Topics that are remembered; beyond this the oldest is forgotten. */
const topicsMax = 20_000;

export interface Way extends DeliveryCache {
  readonly bytes: Uint8Array;
}

export class Ways {
  readonly #subscribers: Subscribers;
  readonly #byTopic = new Map<string, Way>();

  constructor(subscribers: Subscribers) {
    this.#subscribers = subscribers;
  }

  /** The topic with its receivers of now. */
  of(topic: string): Way {
    let way = this.#byTopic.get(topic);
    if (way === undefined) {
      way = { topic, bytes: utf8(topic), deliveries: [], deliveriesVersion: -1 };
      if (this.#byTopic.size >= topicsMax) this.#byTopic.delete(this.#byTopic.keys().next().value as string);
      this.#byTopic.set(topic, way);
    }
    this.#subscribers.of(way);
    return way;
  }
}
