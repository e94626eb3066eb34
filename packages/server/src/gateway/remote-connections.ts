/** The connections of one gateway thread, in the thread of the log: durable sessions are here, whichever gateway their clients are connected to. */
import { type Bus, InternedString } from "@headrace/engine";
import { type SessionChange, type Subscription, splitSharedFilter, type Will } from "@headrace/mqtt";
import type { DurableSession } from "./durable-session.ts";
import { FanOutMessage } from "./fan-out-message.ts";
import type { Lane } from "./lane.ts";
import { leaveSession } from "./leave-session.ts";
import { RemoteConnection } from "./remote-connection.ts";
import type { Sessions } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { Key } from "./stream-state.ts";
import { subscribe } from "./subscribe.ts";
import type { Granted, OpenAnswer, OpenRequest, ToLog, ToThread } from "./thread-protocol.ts";

export interface RemoteConnectionsOptions {
  readonly shared: Shared;
  readonly sessions: Sessions;
  readonly lane: Lane<ToThread>;
  /** The end of the bus of this thread's own part: durable sessions and shared subscriptions. */
  readonly bus: Bus<FanOutMessage>;
}

type ConnectionItem = Extract<ToLog, { readonly number: number }>;

export class RemoteConnections {
  readonly #options: RemoteConnectionsOptions;
  readonly #byNumber = new Map<number, RemoteConnection>();
  #isGone = false;

  constructor(options: RemoteConnectionsOptions) {
    this.#options = options;
  }

  /** Gives a client its session; settles when its messages have been read. */
  async open(number: number, request: OpenRequest): Promise<OpenAnswer> {
    const { sessions, lane } = this.#options;
    const { expirySeconds, receiveMaximum, maximumPacketSize, will } = request;
    const connection = new RemoteConnection(lane, number, request);
    this.#byNumber.set(number, connection);
    const found = sessions.find(request);
    if (found === "full") return { kind: "full" };
    const { session, isNew } = found;
    if (session === undefined) return { kind: "clean" };
    const tried = new Set<object>();
    for (let loading = sessions.load(session, tried); loading; loading = sessions.load(session, tried)) await loading;
    if (session.isEnded || this.#isGone) return { kind: "ended" };
    connection.durable = session;
    session.attach(connection, expirySeconds, will, isNew);
    const { subscriptions, received, outbox } = session.state;
    outbox.resume({ receiveMaximum, maximumPacketSize });
    // Behind the answer.
    setImmediate(() => this.#resume(session, connection));
    return {
      kind: "kept",
      isNew,
      subscriptions: [...subscriptions.values()],
      received: [...received],
      inFlight: [...outbox.inFlight()].map(({ packetId, qos, isReceived }) => ({ packetId, qos, isReceived })),
    };
  }

  #resume(session: DurableSession, connection: RemoteConnection): void {
    if (session.connection !== connection) return;
    session.pump();
    for (const { filter } of session.state.subscriptions.values()) this.#options.shared.subscribed(filter, session);
  }

  /** Subscriptions of a durable session: from the answer on, every gateway passes on what they match. */
  async subscribe(number: number, bytes: Uint8Array, granted: readonly Granted[]): Promise<void> {
    const { shared, bus } = this.#options;
    const filters = granted.map(({ subscription }) => innerFilter(subscription.filter));
    await Promise.all(filters.map((filter) => bus.want(filter)));
    const connection = this.#byNumber.get(number);
    const durable = connection?.durable;
    if (connection !== undefined && durable !== undefined && durable.connection === connection) {
      for (const { subscription } of granted) durable.state.subscriptions.restore(subscription);
      subscribe(shared, durable, connection, bytes, granted);
    }
    for (const filter of filters) bus.unwant(filter);
  }

  /** A subscription of another session that matters here: a shared one, or one for commands. */
  async list(number: number, subscription: Subscription): Promise<void> {
    const { shared, bus } = this.#options;
    const shares = splitSharedFilter(subscription.filter);
    if (shares !== undefined) await bus.want(shares.filter);
    const connection = this.#byNumber.get(number);
    if (connection !== undefined) {
      shared.fanOut.subscribers.add(connection, subscription);
      shared.subscribed(subscription.filter, connection);
    }
    if (shares !== undefined) bus.unwant(shares.filter);
  }

  /** A QoS 2 message of a client is part of the open group. */
  took(number: number, packetId: number): void {
    const durable = this.#byNumber.get(number)?.durable;
    if (durable === undefined || durable.isEnded) return;
    durable.state.received.add(packetId);
    durable.took(packetId);
  }

  /** That group was not stored. */
  refused(number: number, packetId: number): void {
    this.#byNumber.get(number)?.durable?.state.received.delete(packetId);
  }

  take(item: ConnectionItem): void {
    const { subscribers } = this.#options.shared.fanOut;
    const connection = this.#byNumber.get(item.number);
    if (item.kind === "returned") {
      const message = FanOutMessage.fromWire(item.message);
      message.planned ??= new Set();
      if (connection !== undefined) message.planned.add(connection);
      subscribers.group(item.share)?.receive(message);
      return;
    }
    if (connection === undefined) return;
    if (item.kind === "left") {
      this.#byNumber.delete(item.number);
      this.#leave(connection, item.will, item.expirySeconds);
      return;
    }
    if (item.kind === "unlisted") {
      subscribers.remove(connection, item.filter);
      return;
    }
    const { durable } = connection;
    if (durable?.connection !== connection) return;
    switch (item.kind) {
      case "changed":
        change(durable, item.change);
        break;
      case "unsubscribe":
        subscribers.remove(durable, item.filter);
        durable.state.subscriptions.remove([item.filter]);
        durable.unsubscribed(item.filter);
        break;
      case "discard":
        durable.discard(item.packetId);
        break;
      case "writable":
        durable.state.outbox.writable = item.isWritable;
        if (item.isWritable) durable.pump();
        break;
      default:
        item satisfies never;
    }
  }

  #leave(connection: RemoteConnection, will: Will | undefined, newSessionExpirySeconds: number | undefined): void {
    const { shared, sessions } = this.#options;
    const { subscribers } = shared.fanOut;
    subscribers.removeAll(connection);
    const { durable } = connection;
    const publisher = { client: new InternedString(connection.clientId), device: new Key(connection.deviceId) };
    leaveSession(
      shared,
      sessions,
      { connection, session: undefined, durable, newSessionExpirySeconds, publisher },
      will,
    );
  }

  /** The thread is gone, and with it all connections: none of them has said goodbye. */
  drop(): void {
    this.#isGone = true;
    const connections = [...this.#byNumber.values()];
    this.#byNumber.clear();
    for (const connection of connections) this.#leave(connection, connection.will, undefined);
  }
}

/** What the protocol's part does in the thread of the connection, done here too, and then written. */
const change = (durable: DurableSession, step: SessionChange): void => {
  const { outbox, received } = durable.state;
  if (step.type === "acknowledged") outbox.release(step.packetId);
  else if (step.type === "received") outbox.received(step.packetId);
  else received.delete(step.packetId);
  durable.changed(step);
};

/** The filter that a subscription matches topics with. */
export const innerFilter = (filter: string): string => splitSharedFilter(filter)?.filter ?? filter;
