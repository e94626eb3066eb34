/** Who is subscribed to what, and the list of receivers of a topic, worked out when subscriptions change. */
import { type Subscription, SubscriptionTree } from "@headrace/mqtt";
import type { FanOutMessage } from "./fan-out-message.ts";

/** Takes messages: a connection, or another gateway thread. */
export interface Receiver {
  readonly clientId: string;
  /** Device that the receiver is: its identity, else its client id. */
  readonly deviceId: string;
  /** True for another thread: it asks the policy for its own sessions. */
  readonly isThread?: boolean;
  /** False when the message was neither written nor queued. */
  receive(message: FanOutMessage, delivery: Delivery): boolean;
}

/** One receiver's side of a topic: what its matching subscriptions say together. */
export interface Delivery {
  readonly receiver: Receiver;
  readonly qos: 0 | 1;
  readonly retainAsPublished: boolean;
  /** True when every matching subscription says No Local. */
  readonly noLocal: boolean;
  readonly identifiers: readonly number[];
  /** The filters that match. */
  readonly filters: readonly string[];
}

/** A topic that remembers who receives it, as of a version of the subscriptions. */
export interface DeliveryCache {
  readonly topic: string;
  deliveries: readonly Delivery[];
  deliveriesVersion: number;
}

interface Entry {
  readonly receiver: Receiver;
  readonly subscription: Subscription;
}

export class Subscribers {
  readonly #tree = new SubscriptionTree<Entry>();
  readonly #entries = new Map<Receiver, Map<string, Entry>>();

  /** Called when a receiver's subscription begins or ends: other threads are told. */
  onAdded: ((receiver: Receiver, subscription: Subscription) => void) | undefined;
  onRemoved: ((receiver: Receiver, filter: string) => void) | undefined;

  get count(): number {
    return this.#tree.size;
  }

  add(receiver: Receiver, subscription: Subscription): void {
    this.remove(receiver, subscription.filter);
    const entry = { receiver, subscription };
    const own = this.#entries.get(receiver) ?? new Map<string, Entry>();
    this.#entries.set(receiver, own);
    own.set(subscription.filter, entry);
    this.#tree.add(subscription.filter, entry);
    this.onAdded?.(receiver, subscription);
  }

  remove(receiver: Receiver, filter: string): void {
    const own = this.#entries.get(receiver);
    const entry = own?.get(filter);
    if (!own || !entry) return;
    own.delete(filter);
    if (own.size === 0) this.#entries.delete(receiver);
    this.#tree.remove(filter, entry);
    this.onRemoved?.(receiver, filter);
  }

  /** The receivers of a route; costs one comparison while no subscription changes. */
  of(route: DeliveryCache): readonly Delivery[] {
    if (route.deliveriesVersion !== this.#tree.version) {
      route.deliveriesVersion = this.#tree.version;
      route.deliveries = this.match(route.topic);
    }
    return route.deliveries;
  }

  /** The receivers of a topic, each once. */
  match(topic: string): Delivery[] {
    const byReceiver = new Map<Receiver, Subscription[]>();
    this.#tree.match(topic, ({ receiver, subscription }) => {
      const own = byReceiver.get(receiver);
      if (own) own.push(subscription);
      else byReceiver.set(receiver, [subscription]);
    });
    return [...byReceiver].map(([receiver, subscriptions]) => deliveryOf(receiver, subscriptions));
  }
}

/** Overlapping subscriptions are one delivery at the highest QoS with all identifiers (MQTT 5.0 §3.3.4). */
export const deliveryOf = (receiver: Receiver, subscriptions: readonly Subscription[]): Delivery => ({
  receiver,
  qos: subscriptions.some(({ qos }) => qos === 1) ? 1 : 0,
  retainAsPublished: subscriptions.some((subscription) => subscription.retainAsPublished),
  noLocal: subscriptions.every((subscription) => subscription.noLocal),
  identifiers: subscriptions.flatMap(({ identifier }) => (identifier === undefined ? [] : [identifier])),
  filters: subscriptions.map(({ filter }) => filter),
});
