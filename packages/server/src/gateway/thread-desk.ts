/**
 * The sessions of a gateway thread: those that end with their connections are here, the others in the thread of the log. A
 * client id is claimed on the bus first, so that what another gateway has accepted from the client is stored before it goes on.
 */
import type { Bus } from "@headrace/engine";
import { reasonCodes, SessionState, type Subscription, splitSharedFilter, type Will } from "@headrace/mqtt";
import type { Desk, DeskConnection, KeptSession, Left, Opening, Subscribing } from "./desk.ts";
import { deviceOfCommandFilter } from "./device-filter.ts";
import { FanOutMessage, type Held, type Share } from "./fan-out-message.ts";
import type { Lane } from "./lane.ts";
import { endWith } from "./leave-session.ts";
import { grantedExpiry, tooManySessions } from "./open-session.ts";
import type { Receiver } from "./receiver.ts";
import { RemoteSession } from "./remote-session.ts";
import { sessionLimits } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { grant, subscribe } from "./subscribe.ts";
import type { OpenAnswer, OpenRequest, ToLog, ToThread } from "./thread-protocol.ts";
import { publishWill } from "./wills.ts";

export interface ThreadDeskOptions {
  readonly shared: Shared;
  readonly bus: Bus<FanOutMessage>;
  readonly lane: Lane<ToLog>;
  /** Adds the identifier of a client's QoS 2 message to the open group. */
  readonly took: (number: number, packetId: number) => void;
}

/** A connection that the thread of the log knows. */
interface Known {
  readonly connection: DeskConnection;
  readonly session: RemoteSession | undefined;
}

type ConnectionItem = Extract<ToThread, { readonly number: number }>;

export class ThreadDesk implements Desk {
  readonly #options: ThreadDeskOptions;
  readonly #known = new Map<number, Known>();
  readonly #numbers = new Map<Receiver, number>();
  /** The last opening of each client id that has not ended: the next one comes behind it. */
  readonly #openings = new Map<string, Promise<void>>();
  /** Openings that have their client id. */
  readonly #claimed = new Map<string, Promise<void>>();
  #lastNumber = 0;

  constructor(options: ThreadDeskOptions) {
    this.#options = options;
    const { shared, bus, lane } = options;
    const { subscribers } = shared.fanOut;
    subscribers.hasGroupsElsewhere = true;
    subscribers.onRemoved = (receiver, filter) => {
      if (receiver.isBus) return;
      if (splitSharedFilter(filter) === undefined) bus.unwant(filter);
      const number = this.#numbers.get(receiver);
      if (number !== undefined && isListed(filter, receiver)) lane.send({ kind: "unlisted", number, filter });
    };
    shared.clients.onReleased = (clientId) => {
      void shared.ingest.whenSettled().then(() => {
        if (shared.clients.get(clientId) === undefined) bus.release(clientId);
      });
    };
  }

  open(opening: Opening): Promise<void> {
    const { clientId } = opening.connection;
    const before = this.#openings.get(clientId) ?? Promise.resolve();
    const opened = before.then(() => this.#open(opening)).catch((error: unknown) => this.#failed(opening, error));
    this.#openings.set(clientId, opened);
    return opened.then(() => {
      if (this.#openings.get(clientId) === opened) this.#openings.delete(clientId);
    });
  }

  async #open(opening: Opening): Promise<void> {
    const { shared, bus } = this.#options;
    const { connection } = opening;
    const { clientId } = connection;
    await bus.claim(clientId);
    if (connection.isGone) {
      if (shared.clients.get(clientId) === undefined) bus.release(clientId);
      return;
    }
    shared.clients.claim(connection);
    const attached = this.#attach(opening);
    this.#claimed.set(clientId, attached);
    await attached.finally(() => this.#claimed.delete(clientId));
  }

  async #attach({ connect, connection, begin, run, authenticationData }: Opening): Promise<void> {
    const { shared, lane } = this.#options;
    const { limits } = shared;
    const { clientId, identity } = connection;
    const { expirySeconds, told } = grantedExpiry(connect, limits.sessionExpiryMaxSeconds);
    const { clean, will, properties } = connect;
    const { receiveMaximum = 65_535, maximumPacketSize = Number.POSITIVE_INFINITY } = properties;
    const request: OpenRequest = { clientId, identity, clean, expirySeconds, receiveMaximum, maximumPacketSize, will };
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    const answer = (await lane.call("open", [number, request])) as OpenAnswer;
    if (answer.kind === "full" || answer.kind === "ended") {
      lane.send({ kind: "left", number, will: undefined, expirySeconds: undefined });
      if (answer.kind === "ended") connection.end(reasonCodes.sessionTakenOver, "the session has ended");
      else run(begin(undefined)?.refuse(...tooManySessions(limits.sessionsMax)) ?? []);
      return;
    }
    const session = answer.kind === "kept" ? this.#copy(number, expirySeconds, connection, answer) : undefined;
    const protocol = begin(session);
    if (protocol === undefined) {
      // Its client was never told that it is connected, so nothing of it is left but the session.
      lane.send({ kind: "left", number, will: undefined, expirySeconds: undefined });
      return;
    }
    this.#known.set(number, { connection, session });
    this.#numbers.set(connection, number);
    if (session === undefined || answer.kind !== "kept") {
      run(protocol.accept({ authenticationData }));
      return;
    }
    run(protocol.accept({ session: session.state, sessionPresent: !answer.isNew, authenticationData, ...told }));
    for (const { packetId, qos, isReceived } of answer.inFlight) {
      session.state.outbox.restore(unknown, 0, qos, packetId, isReceived);
    }
  }

  #failed({ connection, run, begin }: Opening, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (!connection.isGone) run(begin(undefined)?.refuse(reasonCodes.serverUnavailable, reason) ?? []);
  }

  #copy(
    number: number,
    expirySeconds: number,
    connection: DeskConnection,
    answer: Extract<OpenAnswer, { kind: "kept" }>,
  ): RemoteSession {
    const { lane, took, shared } = this.#options;
    const { sessionQueueMessagesMax: queueMessagesMax, sessionQueueBytesMax: queueBytesMax } = shared.limits;
    const state = new SessionState<Held>({
      limits: sessionLimits(shared.limits),
      outbox: { receiveMaximum: 65_535, maximumPacketSize: Number.POSITIVE_INFINITY, queueMessagesMax, queueBytesMax },
    });
    for (const subscription of answer.subscriptions) state.subscriptions.restore(subscription);
    for (const packetId of answer.received) state.received.add(packetId);
    return new RemoteSession({ number, expirySeconds, state, connection, lane, took });
  }

  async subscribe(subscribing: Subscribing): Promise<void> {
    const { shared, lane, bus } = this.#options;
    const { connection, durable } = subscribing;
    const { bytes, granted } = grant(shared, subscribing);
    if (durable instanceof RemoteSession) {
      await lane.call("subscribe", [durable.number, bytes, granted]);
      return;
    }
    const number = this.#numbers.get(connection);
    const wanted: string[] = [];
    const ready: Promise<unknown>[] = [];
    for (const { subscription } of granted) {
      const { filter } = subscription;
      if (splitSharedFilter(filter) === undefined) wanted.push(filter);
      if (isListed(filter, connection)) ready.push(lane.call("list", [number, subscription]));
    }
    for (const filter of wanted) ready.push(bus.want(filter));
    await Promise.all(ready);
    // Each subscription is wanted until it is removed.
    if (!connection.isGone) subscribe(shared, connection, connection, bytes, granted);
    else for (const filter of wanted) bus.unwant(filter);
  }

  unsubscribe(connection: DeskConnection, durable: KeptSession | undefined, filter: string): void {
    if (durable instanceof RemoteSession) {
      this.#options.lane.send({ kind: "unsubscribe", number: durable.number, filter });
    } else this.#options.shared.fanOut.subscribers.remove(connection, filter);
  }

  leave({ connection, session, durable, publisher }: Left, will: Will | undefined): void {
    const { shared, lane } = this.#options;
    const number = this.#numbers.get(connection);
    const isKept = durable !== undefined;
    if (!isKept) {
      endWith(shared.fanOut, connection, session);
      if (will !== undefined) shared.wills.whenRoom(() => publishWill(shared, connection, publisher, will));
    }
    this.#numbers.delete(connection);
    if (number === undefined) return;
    this.#known.delete(number);
    const expirySeconds = session.newSessionExpirySeconds;
    // Behind everything that was accepted from the client.
    void shared.ingest
      .whenSettled()
      .then(() => lane.send({ kind: "left", number, will: isKept ? will : undefined, expirySeconds }));
  }

  /** Another gateway takes over a client id. */
  async takeOver(clientId: string): Promise<void> {
    const { clients, ingest } = this.#options.shared;
    await whatHasArrived();
    clients.takeOver(clientId);
    await this.#claimed.get(clientId)?.catch(() => undefined);
    await ingest.whenSettled();
  }

  take(item: ConnectionItem): void {
    const { shared } = this.#options;
    const known = this.#known.get(item.number);
    if (item.kind === "deliver") {
      this.#deliver(item, known?.connection);
      return;
    }
    if (known === undefined) return;
    const { connection, session } = known;
    if (item.kind === "send") {
      if (session?.send(item) === false) shared.fanOut.dropped += 1;
    } else if (item.kind === "write") connection.write(item.bytes);
    else connection.end(item.reasonCode, item.reason);
  }

  #deliver(
    { number, message: wire, delivery }: Extract<ToThread, { readonly kind: "deliver" }>,
    connection: DeskConnection | undefined,
  ): void {
    const { fanOut } = this.#options.shared;
    const { qos, retainAsPublished, identifiers, share: filter } = delivery;
    const message = FanOutMessage.fromWire(wire);
    const share = filter === undefined ? undefined : this.#share(number, filter);
    const isTaken =
      connection !== undefined &&
      fanOut.deliverTo(message, {
        receiver: connection,
        qos,
        retainAsPublished,
        identifiers,
        noLocal: false,
        filters: [],
        ...(share && { share }),
      });
    if (!isTaken) share?.receive(message);
  }

  /** The group that is in the thread of the log. */
  #share(number: number, share: string): Share {
    const { lane } = this.#options;
    return {
      receive: (message) => {
        lane.send({ kind: "returned", number, share, message: message.toWire() }, message.payload.byteLength);
        return true;
      },
    };
  }
}

/** Settles when the bytes that had arrived at this thread's sockets have been read: a whole turn of the event loop later. */
const whatHasArrived = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve));
  });

/** What is in flight from an earlier connection, until it is sent again. */
const unknown: Held = { variant: undefined, share: undefined };

/** Whether the thread of the log has to know a subscription: it forms the groups, and sends commands. */
const isListed = (filter: Subscription["filter"], receiver: Receiver): boolean =>
  splitSharedFilter(filter) !== undefined || deviceOfCommandFilter(filter, receiver.deviceId) !== undefined;
