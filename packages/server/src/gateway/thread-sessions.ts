/** The sessions of all gateway threads, as the log's thread knows them, and what each thread must hear about the others. */
import type { Rpc } from "../threads/index.ts";
import type { Flushable } from "./fan-out.ts";
import type { FanOutMessage } from "./fan-out-message.ts";
import type { Delivery, Receiver } from "./receiver.ts";
import type { Subscribers } from "./subscribers.ts";
import { ThreadMessages } from "./thread-messages.ts";
import type { ThreadSubscription } from "./thread-protocol.ts";

/** A session in a gateway thread. */
class ThreadSession implements Receiver {
  readonly clientId: string;
  readonly deviceId: string;
  readonly thread: number;
  readonly isThread = true;
  readonly #messages: ThreadMessages;

  constructor(thread: number, messages: ThreadMessages, { clientId, deviceId }: ThreadSubscription) {
    this.thread = thread;
    this.#messages = messages;
    this.clientId = clientId;
    this.deviceId = deviceId;
  }
  /** A message goes to a thread once: it knows which of its sessions receive it, and asks the policy for each (P9). */
  receive(message: FanOutMessage): boolean {
    this.#messages.add(message);
    return true;
  }
}

export class ThreadSessions {
  readonly #threads: readonly Rpc[];
  readonly #messages: readonly ThreadMessages[];
  readonly #subscribers: Subscribers;
  readonly #sessions: Map<string, { session: ThreadSession; filters: Set<string> }>[];
  /** Sessions per filter and thread. */
  readonly #counts = new Map<string, number[]>();

  constructor(threads: readonly Rpc[], subscribers: Subscribers, flushLater: (messages: Flushable) => void) {
    this.#threads = threads;
    this.#messages = threads.map((rpc) => new ThreadMessages(rpc, "deliver", flushLater));
    this.#subscribers = subscribers;
    this.#sessions = threads.map(() => new Map());
  }

  add(thread: number, asked: ThreadSubscription): void {
    const { filter } = asked.subscription;
    let known = this.#sessions[thread].get(asked.clientId);
    if (!known) {
      known = { session: new ThreadSession(thread, this.#messages[thread], asked), filters: new Set() };
      this.#sessions[thread].set(asked.clientId, known);
    }
    if (!known.filters.has(filter)) this.#count(filter, thread, 1);
    known.filters.add(filter);
    this.#subscribers.add(known.session, asked.subscription);
  }

  remove(thread: number, clientId: string, filter: string): void {
    const known = this.#sessions[thread].get(clientId);
    if (!known?.filters.delete(filter)) return;
    this.#count(filter, thread, -1);
    this.#subscribers.remove(known.session, filter);
    if (known.filters.size === 0) this.#sessions[thread].delete(clientId);
  }

  /** A thread is gone, and its sessions with it. */
  drop(thread: number): void {
    for (const [clientId, { filters }] of [...this.#sessions[thread]]) {
      for (const filter of [...filters]) this.remove(thread, clientId, filter);
    }
  }

  /** Receivers of a message that `thread` published and has delivered to its own sessions. */
  others(thread: number, deliveries: readonly Delivery[]): Delivery[] {
    return deliveries.filter(({ receiver }) => !(receiver instanceof ThreadSession && receiver.thread === thread));
  }

  /** A client id is in use in `thread` now: the others let go of it. */
  claimed(thread: number, clientId: string): void {
    for (const [other, rpc] of this.#threads.entries()) if (other !== thread) rpc.emit("takeOver", [clientId]);
  }

  #count(filter: string, thread: number, change: 1 | -1): void {
    const counts = this.#counts.get(filter) ?? this.#threads.map(() => 0);
    this.#counts.set(filter, counts);
    const elsewhere = (not: number): number =>
      counts.reduce((sum, count, other) => (other === not ? sum : sum + count), 0);
    const before = counts.map((_, other) => elsewhere(other) > 0);
    counts[thread] += change;
    for (const [other, wasWanted] of before.entries()) {
      const isWanted = elsewhere(other) > 0;
      if (isWanted !== wasWanted) this.#threads[other].emit("wanted", [filter, isWanted]);
    }
    if (counts.every((count) => count === 0)) this.#counts.delete(filter);
  }
}
