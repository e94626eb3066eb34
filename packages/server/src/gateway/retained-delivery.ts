/**
 * Retained messages on their way to a client that has just subscribed (MQTT 5.0 §3.3.1.3): as many at a time as it takes, and so that
 * nobody waits for the search (M13). All wildcard filters of a SUBSCRIBE are looked for in one pass over the retained messages; what is
 * retained after the pass began comes as a live message. The pass ends with the connection.
 */
import { SubscriptionTree } from "@headrace/mqtt";
import type { FanOutMessage } from "./fan-out-message.ts";
import type { Delivery } from "./receiver.ts";
import type { Retained } from "./retained.ts";

/** Topics that are looked at in one turn of the event loop. */
const topicsPerTurn = 500;

export interface RetainedDeliveryParts {
  readonly retained: Retained;
  readonly nowMs: () => number;
  /** Whether the client takes more now; whoever makes room calls {@link RetainedDelivery.go}. */
  readonly hasRoom: () => boolean;
  readonly deliver: (message: FanOutMessage, delivery: Delivery) => void;
}

interface Wanted {
  readonly filter: string;
  readonly delivery: Delivery;
}

export class RetainedDelivery {
  readonly #parts: RetainedDeliveryParts;
  /** Asked for, and not part of a pass yet: at most as many as the session has subscriptions. */
  readonly #asked = new Map<string, Wanted>();
  #wanted = new SubscriptionTree<Wanted>();
  #pass: Iterator<FanOutMessage> | undefined;
  /** What was found and found no room. */
  readonly #found: [message: FanOutMessage, delivery: Delivery][] = [];
  /** Filters of this pass whose subscription has ended. */
  readonly #dropped = new Set<string>();
  #isAsked = false;
  #isEnded = false;

  constructor(parts: RetainedDeliveryParts) {
    this.#parts = parts;
  }

  ask(filter: string, delivery: Delivery): void {
    const { retained, nowMs, deliver } = this.#parts;
    if (/[+#]/.test(filter)) {
      this.#asked.set(filter, { filter, delivery });
      return;
    }
    const message = retained.get(filter, nowMs());
    if (message !== undefined) deliver(message, delivery);
  }

  /** The subscription has ended. */
  drop(filter: string): void {
    this.#asked.delete(filter);
    this.#dropped.add(filter);
  }

  /** Delivers what there is room for. */
  go(): void {
    if (this.#pass === undefined && this.#asked.size === 0 && this.#found.length === 0) return;
    const { hasRoom, deliver, retained, nowMs } = this.#parts;
    for (let looked = 0; ; looked += 1) {
      if (this.#isEnded || !hasRoom()) return;
      const next = this.#found.shift();
      if (next !== undefined) {
        deliver(...next);
        continue;
      }
      if (this.#pass === undefined) {
        if (this.#asked.size === 0) return;
        this.#wanted = new SubscriptionTree();
        for (const wanted of this.#asked.values()) this.#wanted.add(wanted.filter, wanted);
        this.#asked.clear();
        this.#dropped.clear();
        this.#pass = retained.pass(nowMs());
      }
      if (looked >= topicsPerTurn) {
        this.#goLater();
        return;
      }
      const { value: message, done } = this.#pass.next();
      if (done === true) this.#pass = undefined;
      else {
        this.#wanted.match(message.topic, ({ filter, delivery }) => {
          if (!this.#dropped.has(filter)) this.#found.push([message, delivery]);
        });
      }
    }
  }

  #goLater(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    setImmediate(() => {
      this.#isAsked = false;
      this.go();
    });
  }

  end(): void {
    this.#isEnded = true;
    this.#pass = undefined;
  }
}
