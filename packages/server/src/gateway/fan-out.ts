/** Live delivery to subscribers. A message that is stored is delivered when its group is durable, never before. */
import type { HeadraceError } from "@headrace/sdk";
import type { FanOutMessage } from "./fan-out-message.ts";
import type { GroupMember, Ingest } from "./ingest.ts";
import type { Authorize } from "./policy.ts";
import type { Route } from "./routes.ts";
import { type Delivery, type Receiver, Subscribers } from "./subscribers.ts";

/** Ends a turn of writing: what was coalesced goes to the sockets. */
export interface Flushable {
  flush(): void;
}

export class FanOut implements GroupMember {
  readonly subscribers = new Subscribers();
  readonly #ingest: Ingest;
  readonly #authorize: (receiver: Receiver, topic: string) => string | undefined;
  #open: FanOutMessage[] = [];
  #sealed: FanOutMessage[] = [];
  #dirty: Flushable[] = [];
  #flushAsked = false;
  /** Called with each durable message that carries the retain flag. */
  onRetained: ((message: FanOutMessage) => void) | undefined;
  delivered = 0;
  /** Deliveries that the policy refused. */
  forbidden = 0;
  /** Deliveries that found no room at their receiver. */
  dropped = 0;

  constructor(ingest: Ingest, authorize: (receiver: Receiver, topic: string) => string | undefined) {
    this.#ingest = ingest;
    this.#authorize = authorize;
  }

  /** True when somebody would receive the topic. */
  wants(route: Route): boolean {
    return this.subscribers.of(route).length > 0;
  }

  /** Delivers `message` when the open group is durable. */
  whenDurable(message: FanOutMessage): void {
    if (this.#open.length === 0) this.#ingest.join(this);
    this.#open.push(message);
  }

  sealed(): void {
    this.#sealed = this.#sealed.length === 0 ? this.#open : [...this.#sealed, ...this.#open];
    this.#open = [];
  }

  settled(error: HeadraceError | undefined): void {
    const messages = this.#sealed;
    this.#sealed = [];
    if (error) return;
    for (const message of messages) {
      if (message.retain) this.onRetained?.(message);
      this.deliver(message, this.subscribers.match(message.topic));
    }
  }

  /** Hands a message to its receivers now; returns how many took it. */
  deliver(message: FanOutMessage, deliveries: readonly Delivery[]): number {
    let taken = 0;
    for (const delivery of deliveries) {
      if (delivery.noLocal && delivery.receiver.clientId === message.publisher) continue;
      if (this.deliverTo(message, delivery)) taken += 1;
    }
    return taken;
  }

  /** The only way to a receiver: asks the policy each time (P9). */
  deliverTo(message: FanOutMessage, delivery: Delivery): boolean {
    if (!delivery.receiver.isThread && this.#authorize(delivery.receiver, message.topic) !== undefined) {
      this.forbidden += 1;
      return false;
    }
    const taken = delivery.receiver.receive(message, delivery);
    if (taken) this.delivered += 1;
    else this.dropped += 1;
    return taken;
  }

  /** Writes `writer`'s bytes at the end of this turn, together with all others'. */
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

/** A policy as the fan-out asks it. */
export const receivePolicy =
  (authorize: Authorize) =>
  (receiver: Receiver & { readonly identity?: string | undefined }, topic: string): string | undefined =>
    authorize("receive", receiver.identity, receiver.clientId, topic);
