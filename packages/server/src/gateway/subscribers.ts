/** Who is subscribed to what, and the list of receivers of a topic, worked out when subscriptions change. */
import { FilterShapes, type Qos, type Subscription, SubscriptionTree, splitSharedFilter } from "@headrace/mqtt";
import type { Delivery, Receiver } from "./receiver.ts";
import { type DeliverTo, ShareGroup } from "./share-group.ts";

/** A topic that remembers who receives it, as of a version of the subscriptions. */
export interface DeliveryCache {
  readonly topic: string;
  deliveries: readonly Delivery[];
  deliveriesVersion: number;
}

interface Entry {
  readonly receiver: Receiver;
  readonly subscription: Subscription;
  /** Of a client of this thread. */
  readonly isOwn: boolean;
}

const isSysFilter = (filter: string): boolean => filter.startsWith("$SYS/");

export class Subscribers {
  readonly #tree = new SubscriptionTree<Entry>();
  readonly #entries = new Map<Receiver, Map<string, Entry>>();
  readonly #groups = new Map<string, { readonly group: ShareGroup; readonly entry: Entry }>();
  /** What a match may cost, see {@link FilterShapes}. */
  readonly #shapes = new FilterShapes();
  readonly #deliverTo: DeliverTo;
  /** Subscriptions of durable sessions and of groups, which may have such members: as long as there is none, none is looked for. */
  plannedCount = 0;

  constructor(deliverTo: DeliverTo = () => false) {
    this.#deliverTo = deliverTo;
  }

  /** True where groups are formed elsewhere: shared subscriptions are known here, and match nothing. */
  hasGroupsElsewhere = false;

  /** Subscriptions to the node's own figures: as long as there is none, none are collected. */
  sysCount = 0;
  onSysSubscribed: (() => void) | undefined;
  /** Called when a receiver's subscription begins or ends: other threads are told. */
  onAdded: ((receiver: Receiver, subscription: Subscription) => void) | undefined;
  onRemoved: ((receiver: Receiver, filter: string) => void) | undefined;

  /** Subscriptions of clients of this thread: without what other threads want. */
  ownCount = 0;

  get count(): number {
    return this.#tree.size;
  }

  /** By how much a match may cost more with this filter; see {@link matchCostMax}. */
  extraCost(filter: string): number {
    return this.#shapes.missing(splitSharedFilter(filter)?.filter ?? filter);
  }

  /** Nodes that a match looks at, at most, whatever the topic. */
  get matchCostMax(): number {
    return this.#shapes.size;
  }

  add(receiver: Receiver, subscription: Subscription): void {
    this.remove(receiver, subscription.filter);
    const entry = { receiver, subscription, isOwn: !receiver.isBus && !receiver.isElsewhere };
    const own = this.#entries.get(receiver) ?? new Map<string, Entry>();
    this.#entries.set(receiver, own);
    own.set(subscription.filter, entry);
    if (entry.isOwn) this.ownCount += 1;
    if (receiver.plan !== undefined) this.plannedCount += 1;
    const shared = splitSharedFilter(subscription.filter);
    if (shared === undefined) this.#plant(subscription.filter, entry);
    else if (!this.hasGroupsElsewhere) {
      this.#groupOf(subscription, shared.filter).set(receiver, deliveryOf(receiver, [subscription]));
    }
    if (isSysFilter(shared?.filter ?? subscription.filter)) {
      this.sysCount += 1;
      this.onSysSubscribed?.();
    }
    this.onAdded?.(receiver, subscription);
  }

  remove(receiver: Receiver, filter: string): void {
    const own = this.#entries.get(receiver);
    const entry = own?.get(filter);
    if (!own || !entry) return;
    own.delete(filter);
    if (own.size === 0) this.#entries.delete(receiver);
    if (entry.isOwn) this.ownCount -= 1;
    if (receiver.plan !== undefined) this.plannedCount -= 1;
    const shared = splitSharedFilter(filter);
    if (shared === undefined) this.#uproot(filter, entry);
    else this.#leaveGroup(receiver, filter, shared.filter);
    if (isSysFilter(shared?.filter ?? filter)) this.sysCount -= 1;
    this.onRemoved?.(receiver, filter);
  }

  #plant(filter: string, entry: Entry): void {
    this.#tree.add(filter, entry);
    this.#shapes.add(filter);
  }
  #uproot(filter: string, entry: Entry): void {
    this.#tree.remove(filter, entry);
    this.#shapes.remove(filter);
  }

  removeAll(receiver: Receiver): void {
    for (const filter of [...(this.#entries.get(receiver)?.keys() ?? [])]) this.remove(receiver, filter);
  }

  #groupOf({ filter, qos }: Subscription, inner: string): ShareGroup {
    let known = this.#groups.get(filter);
    if (known === undefined) {
      const group = new ShareGroup(this.#deliverTo);
      known = {
        group,
        entry: {
          receiver: group,
          isOwn: false,
          subscription: { filter, qos, noLocal: false, retainAsPublished: true },
        },
      };
      this.#groups.set(filter, known);
      this.#plant(inner, known.entry);
    }
    return known.group;
  }

  #leaveGroup(receiver: Receiver, filter: string, inner: string): void {
    const known = this.#groups.get(filter);
    known?.group.delete(receiver);
    if (known === undefined || known.group.size > 0) return;
    this.#groups.delete(filter);
    this.#uproot(inner, known.entry);
  }

  /** The group of a shared subscription, if it has members. */
  group(filter: string): ShareGroup | undefined {
    return this.#groups.get(filter)?.group;
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
  qos: Math.max(...subscriptions.map(({ qos }) => qos)) as Qos,
  retainAsPublished: subscriptions.some((subscription) => subscription.retainAsPublished),
  noLocal: subscriptions.every((subscription) => subscription.noLocal),
  identifiers: subscriptions.flatMap(({ identifier }) => (identifier === undefined ? [] : [identifier])),
  filters: subscriptions.map(({ filter }) => filter),
});
