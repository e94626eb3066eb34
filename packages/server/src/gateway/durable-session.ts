/**
 * A session that outlives its connection (MQTT 5.0 §4.1). Whatever changes it is written into the log `sessions` with the
 * group of the message that causes it; what the client may see of a change is sent when that group is durable.
 */
import { InternedString } from "@headrace/engine";
import {
  offered,
  reasonCodes,
  type SessionChange,
  type SessionState,
  type Subscription,
  type Will,
} from "@headrace/mqtt";
import type { HeadraceError } from "@headrace/sdk";
import type { KeptSession } from "./desk.ts";
import type { FanOutMessage, Held } from "./fan-out-message.ts";
import type { GroupMember } from "./ingest.ts";
import type { Place } from "./place.ts";
import type { Delivery, Receiver } from "./receiver.ts";
import type { RetainedDelivery } from "./retained-delivery.ts";
import type { SessionConnection } from "./session-connection.ts";
import { keepWill, type SessionRecord } from "./session-records.ts";
import { lowerQos, publishBytes, Stored } from "./stored.ts";

/** Where a session writes. */
export interface SessionStore {
  write(session: DurableSession, record: SessionRecord): void;
  /** Adds the session to the open group and asks for it. */
  join(session: DurableSession): void;
  nowMs(): number;
  /** Oldest message that is still delivered, in ms. */
  readonly queueAgeMaxMs: number;
  /** Messages that found no room, or were too old, too large or no longer stored when their turn came. */
  readonly counters: { dropped: number; expired: number; lost: number };
}

interface Step {
  readonly connection: SessionConnection | undefined;
  readonly run: () => void;
}

export class DurableSession implements Receiver, GroupMember, KeptSession {
  readonly clientId: string;
  readonly identity: string | undefined;
  readonly key: InternedString;
  readonly state: SessionState<Held>;
  connection: SessionConnection | undefined;
  expirySeconds = 0;
  /** When it ends, while nobody is connected. */
  expiresAtMs = Number.POSITIVE_INFINITY;
  /** The will of its connection, kept until that ends regularly; due at a time once it has ended otherwise. */
  will: Will | undefined;
  willDueMs: number | undefined;
  /** True when the log lags behind memory because a group was not stored: it is written anew with the next record. */
  isStale = false;
  isEnded = false;
  /** Retained messages on their way to its client; made when it subscribes. */
  retained: RetainedDelivery | undefined;
  readonly #store: SessionStore;
  #lastNumber = 0;
  #open: Step[] = [];
  #sealed: Step[] = [];
  #openStored: Stored[] = [];
  #isInGroup = false;
  /** Its part of a group is written and not durable yet. */
  #isUnderWay = false;

  constructor(store: SessionStore, clientId: string, identity: string | undefined, state: SessionState<Held>) {
    this.#store = store;
    this.clientId = clientId;
    this.identity = identity;
    this.state = state;
    this.key = new InternedString(clientId);
  }

  get deviceId(): string {
    return this.identity ?? this.clientId;
  }
  get isAbsent(): boolean {
    return this.connection === undefined;
  }
  /** True while something of it waits to be durable. */
  get isInGroup(): boolean {
    return this.#isInGroup || this.#isUnderWay;
  }

  // ---- messages to the client

  plan(message: FanOutMessage, delivery: Delivery, place: Place): "taken" | "dropped" | "live" {
    const qos = lowerQos(message.qos, delivery.qos);
    if (qos === 0) return "live";
    return this.#keep(message, delivery, qos, place) ? "taken" : "dropped";
  }

  /** Takes a message that is not being stored: a retained one, for which a copy is kept. */
  keep(message: FanOutMessage, delivery: Delivery): boolean {
    const qos = lowerQos(message.qos, delivery.qos);
    return qos === 0 ? this.receive(message, delivery) : this.#keep(message, delivery, qos, undefined);
  }

  #keep(message: FanOutMessage, delivery: Delivery, qos: 1 | 2, place: Place | undefined): boolean {
    const retain = message.retain && delivery.retainAsPublished;
    const { identifiers, share } = delivery;
    const variant = message.variant(qos, retain, identifiers);
    const bytes = publishBytes(variant);
    const stored = new Stored({
      number: this.#lastNumber + 1,
      // Of an absent client's messages only the places are kept; they are read when it comes back.
      variant: this.connection === undefined && place !== undefined ? undefined : variant,
      place,
      qos,
      retain,
      identifiers,
      bytes,
      arrivalMs: message.arrivalMs,
      share,
    });
    const answer = this.state.outbox.offer(stored, bytes, qos);
    if (answer < offered.queued) {
      this.#store.counters.dropped += 1;
      return false;
    }
    this.#lastNumber += 1;
    const packetId = Math.max(0, answer);
    const queued = stored.queued(packetId);
    this.#store.write(this, place ? { kind: "queue", queued, place } : { kind: "copy", queued, message });
    this.#openStored.push(stored);
    if (packetId > 0) this.#sendLater(stored, packetId, "publish");
    else this.#joinGroup();
    return true;
  }

  /** Live delivery of what is in no stream: QoS 0, and the node's own messages, which keep themselves. */
  receive(message: FanOutMessage, delivery: Delivery): boolean {
    return this.connection?.receive(message, delivery) ?? false;
  }

  pump(): void {
    const { outbox } = this.state;
    for (let next = outbox.take(); next; next = outbox.take()) {
      const { message, packetId, step } = next;
      if (!(message instanceof Stored)) {
        this.connection?.send(message, packetId, step);
        continue;
      }
      if (step === "publish") {
        if (this.#isGone(message)) {
          outbox.release(packetId);
          this.#store.write(this, { kind: "drop", number: message.number });
          this.#joinGroup();
          continue;
        }
        this.#store.write(this, { kind: "assign", number: message.number, packetId });
      }
      this.#sendLater(message, packetId, step);
    }
  }

  #isGone({ variant, arrivalMs }: Stored): boolean {
    const { counters, queueAgeMaxMs } = this.#store;
    if (variant === undefined) {
      counters.lost += 1;
      return true;
    }
    const { messageExpirySeconds } = variant.message.properties;
    const ageMs = this.#store.nowMs() - arrivalMs;
    if (ageMs < queueAgeMaxMs && (messageExpirySeconds === undefined || ageMs < messageExpirySeconds * 1_000))
      return false;
    counters.expired += 1;
    return true;
  }

  #sendLater(stored: Stored, packetId: number, step: "publish" | "again" | "release"): void {
    const { connection } = this;
    this.later(() => {
      if (this.state.outbox.isInFlight(packetId)) connection?.send(stored, packetId, step);
    });
  }

  discard(packetId: number): void {
    const held = this.state.outbox.release(packetId);
    if (!(held instanceof Stored)) return;
    this.#store.counters.dropped += 1;
    this.#store.write(this, { kind: "acknowledged", packetId });
    this.#joinGroup();
  }

  // ---- changes by the client

  changed({ type, packetId, bytes }: SessionChange): void {
    this.#store.write(this, { kind: type, packetId });
    if (bytes === undefined) this.#joinGroup();
    else this.writeLater(bytes);
    if (type === "acknowledged") this.pump();
    this.retained?.go();
  }

  took(packetId: number): void {
    this.#store.write(this, { kind: "took", packetId });
    this.#joinGroup();
  }

  subscribed(subscription: Subscription): void {
    this.#store.write(this, { kind: "subscribe", subscription });
    this.#joinGroup();
  }
  unsubscribed(filter: string): void {
    this.retained?.drop(filter);
    this.#store.write(this, { kind: "unsubscribe", filter });
    this.#joinGroup();
  }

  /** Writes to the client when what has changed is durable. */
  writeLater(bytes: Uint8Array): void {
    const { connection } = this;
    this.later(() => connection?.write(bytes));
  }

  // ---- connections

  attach(connection: SessionConnection, expirySeconds: number, will: Will | undefined, isNew: boolean): void {
    this.connection = connection;
    this.expirySeconds = expirySeconds;
    this.expiresAtMs = Number.POSITIVE_INFINITY;
    this.will = will;
    this.willDueMs = undefined;
    const kept = will && keepWill(will);
    const attached = { expirySeconds, ...(this.identity !== undefined && { identity: this.identity }), will: kept };
    this.#store.write(this, { kind: isNew ? "begin" : "attach", attached });
    this.#joinGroup();
  }

  /** The connection is gone; `will` is due unless the session goes on before its delay has passed. */
  detach(will: Will | undefined, expirySeconds: number | undefined, nowMs: number): void {
    this.connection = undefined;
    this.retained?.end();
    this.retained = undefined;
    this.state.outbox.pause();
    if (expirySeconds !== undefined) this.expirySeconds = expirySeconds;
    this.expiresAtMs = nowMs + this.expirySeconds * 1_000;
    this.will = will;
    const delaySeconds = Math.min(will?.properties?.willDelaySeconds ?? 0, this.expirySeconds);
    this.willDueMs = will && nowMs + delaySeconds * 1_000;
    this.forget();
    const detached = { atMs: nowMs, expirySeconds: this.expirySeconds };
    const due = this.willDueMs === undefined ? {} : { willDueMs: this.willDueMs };
    this.#store.write(this, { kind: "detach", detached: { ...detached, ...due } });
    this.#joinGroup();
  }

  /** Lets go of messages that can be read again. */
  forget(): void {
    for (const { message } of this.entries()) {
      if (message instanceof Stored && message.place !== undefined) message.variant = undefined;
    }
  }

  *entries(): Generator<{ readonly message: Held; readonly packetId: number; readonly isReceived: boolean }> {
    yield* this.state.outbox.inFlight();
    for (const { message } of this.state.outbox.waiting()) yield { message, packetId: 0, isReceived: false };
  }

  // ---- restoring

  /** Takes one record of its log. `begin` and `end` are for the store. */
  restore(record: SessionRecord): void {
    const { outbox, subscriptions, received } = this.state;
    switch (record.kind) {
      case "attach":
      case "begin":
        this.expirySeconds = record.attached.expirySeconds;
        break;
      case "subscribe":
        subscriptions.restore(record.subscription);
        break;
      case "unsubscribe":
        subscriptions.remove([record.filter]);
        break;
      case "queue":
      case "copy": {
        const { queued } = record;
        this.#lastNumber = Math.max(this.#lastNumber, queued.number);
        const { packetId, isReceived, bytes, qos, retain, identifiers } = queued;
        const variant = record.kind === "copy" ? record.message.variant(qos, retain, identifiers) : undefined;
        const place = record.kind === "queue" ? record.place : undefined;
        outbox.restore(new Stored({ ...queued, variant, place }), bytes, qos, packetId, isReceived);
        break;
      }
      case "assign":
      case "drop": {
        const found = this.#waiting(record.number);
        if (found === undefined) break;
        outbox.remove(found);
        if (record.kind === "assign") outbox.restore(found, found.bytes, found.qos, record.packetId);
        break;
      }
      case "acknowledged":
        outbox.release(record.packetId);
        break;
      case "received":
        outbox.received(record.packetId);
        break;
      case "took":
        received.add(record.packetId);
        break;
      case "released":
        received.delete(record.packetId);
        break;
      default:
        break;
    }
  }

  #waiting(number: number): Stored | undefined {
    for (const { message } of this.state.outbox.waiting()) {
      if (message instanceof Stored && message.number === number) return message;
    }
    return undefined;
  }

  // ---- groups

  /** Runs `run` when what has been written is durable, if the client is still connected then. */
  later(run: () => void): void {
    this.#open.push({ connection: this.connection, run });
    this.#joinGroup();
  }

  #joinGroup(): void {
    if (this.#isInGroup) return;
    this.#isInGroup = true;
    this.#store.join(this);
  }

  sealed(): void {
    this.#isInGroup = false;
    this.#isUnderWay = true;
    this.#sealed = this.#open;
    this.#open = [];
  }

  settled(error: HeadraceError | undefined): void {
    const steps = this.#sealed;
    const stored = this.#openStored;
    this.#sealed = [];
    this.#openStored = [];
    this.#isUnderWay = false;
    if (error === undefined) {
      for (const { connection, run } of steps) if (connection === this.connection) run();
      return;
    }
    // Their publishers are told that they were not stored; the rest is what the client did, which it will do again.
    const failed = new Set<Held>(stored);
    for (const { message, packetId } of [...this.entries()]) {
      if (!failed.has(message)) continue;
      if (packetId > 0) this.state.outbox.release(packetId);
      else this.state.outbox.remove(message);
    }
    this.isStale = true;
    this.connection?.end(reasonCodes.quotaExceeded, error.message);
  }
}
