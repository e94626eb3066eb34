/** Live delivery to subscribers. A message that is stored is delivered when its group is durable, never before. */
import type { HeadraceError } from "@headrace/sdk";
import type { FanOutMessage } from "./fan-out-message.ts";
import type { GroupMember, Ingest } from "./ingest.ts";
import type { Place } from "./place.ts";
import type { Authorize } from "./policy.ts";
import type { Delivery, Receiver } from "./receiver.ts";
import type { Route } from "./routes.ts";
import { ShareGroup } from "./share-group.ts";
import { type DeliveryCache, Subscribers } from "./subscribers.ts";
import { Ways } from "./ways.ts";

/** Ends a turn of writing: what was coalesced goes to the sockets. */
export interface Flushable {
  flush(): void;
}

/** A message that waits for its group, with the receivers of its topic. */
interface Undelivered {
  readonly message: FanOutMessage;
  readonly way: DeliveryCache;
}

export class FanOut implements GroupMember {
  readonly subscribers = new Subscribers((message, delivery) => this.deliverTo(message, delivery));
  readonly #ways = new Ways(this.subscribers);
  readonly #ingest: Ingest;
  readonly #authorize: (receiver: Receiver, topic: string) => string | undefined;
  #open: Undelivered[] = [];
  #sealed: Undelivered[] = [];
  #dirty: Flushable[] = [];
  #flushAsked = false;
  /** Whether a durable message was a repeat, so that nobody gets it again; where that is known only behind the log. */
  isRepeat: ((message: FanOutMessage) => boolean) | undefined;
  /** Called with each message that carries the retain flag, when it is durable or was not stored. */
  onRetained: ((message: FanOutMessage, isStored: boolean) => void) | undefined;
  delivered = 0;
  /** Deliveries that the policy refused. */
  forbidden = 0;
  /** Deliveries that found no room at their receiver. */
  dropped = 0;

  constructor(ingest: Ingest, authorize: (receiver: Receiver, topic: string) => string | undefined) {
    this.#ingest = ingest;
    this.#authorize = authorize;
    ingest.afterTurn = () => this.flush();
  }

  /** True when somebody would receive the topic. */
  wants(route: Route): boolean {
    return this.subscribers.of(route).length > 0;
  }

  /**
   * Lets durable sessions take a message that is part of the open group, so that their part is durable with it. Each
   * of them is asked for here once and passed over at delivery.
   */
  plan(message: FanOutMessage, deliveries: readonly Delivery[], place: Place): void {
    for (const delivery of deliveries) {
      const { receiver } = delivery;
      if (delivery.noLocal && receiver.clientId === message.publisher) continue;
      if (receiver instanceof ShareGroup) this.#planShared(message, receiver, place);
      else if (receiver.plan !== undefined && this.#planFor(message, delivery, place) !== "live") {
        markPlanned(message, receiver);
      }
    }
  }

  // Only when its turn comes to a durable session: the other members get it when it is durable.
  #planShared(message: FanOutMessage, group: ShareGroup, place: Place): void {
    for (const delivery of group.candidates()) {
      const answer = this.#planFor(message, delivery, place);
      if (answer === "dropped") continue;
      if (answer === "live") {
        // The group has moved on by one: this member is asked first at delivery.
        group.stay();
        return;
      }
      markPlanned(message, group);
      return;
    }
  }

  #planFor(message: FanOutMessage, delivery: Delivery, place: Place): "taken" | "dropped" | "live" {
    if (!delivery.receiver.isBus && this.#authorize(delivery.receiver, message.topic) !== undefined) {
      this.forbidden += 1;
      return "dropped";
    }
    return delivery.receiver.plan?.(message, delivery, place) ?? "live";
  }

  /** Delivers `message` when the open group is durable, to those who receive its topic then. */
  whenDurable(message: FanOutMessage, way: DeliveryCache): void {
    if (this.#open.length === 0) this.#ingest.join(this);
    this.#open.push({ message, way });
  }

  sealed(): void {
    this.#sealed = this.#sealed.length === 0 ? this.#open : [...this.#sealed, ...this.#open];
    this.#open = [];
  }

  settled(error: HeadraceError | undefined): void {
    const undelivered = this.#sealed;
    this.#sealed = [];
    if (error) {
      for (const { message } of undelivered) if (message.retain) this.onRetained?.(message, false);
      return;
    }
    for (const { message, way } of undelivered) {
      const isRepeat = this.isRepeat?.(message) === true;
      if (message.retain) this.onRetained?.(message, !isRepeat);
      if (isRepeat) continue;
      this.deliver(message, this.subscribers.of(way));
    }
  }

  /** Hands a message to its receivers now; returns how many took it. */
  deliver(message: FanOutMessage, deliveries: readonly Delivery[]): number {
    let taken = 0;
    for (const delivery of deliveries) {
      if (delivery.noLocal && delivery.receiver.clientId === message.publisher) continue;
      if (message.planned?.has(delivery.receiver) || delivery.receiver.isElsewhere) continue;
      if (this.deliverTo(message, delivery)) taken += 1;
    }
    return taken;
  }

  /** Hands on a message that another gateway published. */
  heard(message: FanOutMessage): void {
    const { deliveries } = this.#ways.of(message.topic);
    this.deliver(
      message,
      deliveries.filter(({ receiver }) => !receiver.isBus),
    );
  }

  /** Whether the policy lets a receiver have messages of a topic now (P9). */
  mayReceive(receiver: Receiver, topic: string): boolean {
    if (this.#authorize(receiver, topic) === undefined) return true;
    this.forbidden += 1;
    return false;
  }

  /** The only way to a receiver for live messages: asks the policy each time (P9). */
  deliverTo(message: FanOutMessage, delivery: Delivery): boolean {
    const { receiver } = delivery;
    if (!receiver.isBus && !receiver.isGroup && this.#authorize(delivery.receiver, message.topic) !== undefined) {
      this.forbidden += 1;
      return false;
    }
    const taken = delivery.receiver.receive(message, delivery);
    if (taken) this.delivered += 1;
    else this.dropped += 1;
    return taken;
  }

  /** Writes `writer`'s bytes at the end of this turn, together with all others': acknowledgements and messages in one system call. */
  flushLater(writer: Flushable): void {
    this.#dirty.push(writer);
    if (this.#flushAsked) return;
    this.#flushAsked = true;
    setImmediate(() => this.flush());
  }

  flush(): void {
    this.#flushAsked = false;
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const writer of dirty) writer.flush();
  }
}

const markPlanned = (message: FanOutMessage, receiver: Receiver): void => {
  message.planned ??= new Set();
  message.planned.add(receiver);
};

/** A policy as the fan-out asks it. */
export const receivePolicy =
  (authorize: Authorize) =>
  (receiver: Receiver & { readonly identity?: string | undefined }, topic: string): string | undefined =>
    authorize("receive", receiver.identity, receiver.clientId, topic);
