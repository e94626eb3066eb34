/** A shared subscription (MQTT 5.0 §4.8.2): each message goes to one of its members, in turn. */
import type { FanOutMessage } from "./fan-out-message.ts";
import type { Delivery, Receiver } from "./receiver.ts";

/** The way to a member, which asks the policy (P9). */
export type DeliverTo = (message: FanOutMessage, delivery: Delivery) => boolean;

export class ShareGroup implements Receiver {
  readonly clientId = "";
  readonly deviceId = "";
  readonly isGroup = true;
  /** Where each member stands in the order: joining and leaving cost the same however many members there are (M12). */
  readonly #places = new Map<Receiver, number>();
  readonly #deliverTo: DeliverTo;
  readonly #order: Delivery[] = [];
  #next = 0;

  constructor(deliverTo: DeliverTo) {
    this.#deliverTo = deliverTo;
  }

  get size(): number {
    return this.#order.length;
  }

  set(receiver: Receiver, delivery: Delivery): void {
    const place = this.#places.get(receiver) ?? this.#order.length;
    this.#places.set(receiver, place);
    this.#order[place] = { ...delivery, share: this };
  }

  delete(receiver: Receiver): void {
    const place = this.#places.get(receiver);
    if (place === undefined) return;
    this.#places.delete(receiver);
    const last = this.#order.pop() as Delivery;
    if (last.receiver !== receiver) {
      this.#order[place] = last;
      this.#places.set(last.receiver, place);
    }
    if (this.#next >= this.#order.length) this.#next = 0;
  }

  /** Members in the order in which they should be asked: those that are connected in turn, then the others. */
  *candidates(): Generator<Delivery> {
    const order = this.#order;
    const start = this.#next;
    if (order.length > 0) this.#next = (start + 1) % order.length;
    const absent: Delivery[] = [];
    for (let step = 0; step < order.length; step += 1) {
      const delivery = order[(start + step) % order.length] as Delivery;
      if (delivery.receiver.isAbsent) absent.push(delivery);
      else yield delivery;
    }
    yield* absent;
  }

  /** The member whose turn it was keeps it. */
  stay(): void {
    if (this.#order.length > 0) this.#next = (this.#next + this.#order.length - 1) % this.#order.length;
  }

  /** Gives the message to the next member that takes it. */
  receive(message: FanOutMessage): boolean {
    for (const delivery of this.candidates()) {
      if (message.planned?.has(delivery.receiver)) continue;
      if (this.#deliverTo(message, delivery)) return true;
    }
    return false;
  }
}
