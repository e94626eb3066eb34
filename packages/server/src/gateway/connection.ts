/** One MQTT connection: socket and scanner on one side, session, intake and subscriptions on the other. */
import type { Socket } from "node:net";
import { InternedString } from "@headrace/engine";
import {
  type ConnectRequest,
  decodePublishProperties,
  encodeAcknowledgement,
  MqttError,
  offered,
  PacketScanner,
  type PublishView,
  packetTypes,
  reasonCodes,
  ServerSession,
  type SessionAction,
  type SessionChange,
  type SubscribeAction,
  TopicMemo,
} from "@headrace/mqtt";
import type { HeadraceError } from "@headrace/sdk";
import { AckBuffer } from "./ack-buffer.ts";
import type { DurableSession, SessionConnection } from "./durable-session.ts";
import type { FanOutMessage, Held, Variant } from "./fan-out-message.ts";
import type { GroupMember, Publisher } from "./ingest.ts";
import type { Watched } from "./keep-alive.ts";
import type { Authentication } from "./policy.ts";
import type { Route } from "./routes.ts";
import { SequenceReader } from "./sequence-reader.ts";
import { sessionLimits } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { SocketWriter } from "./socket-writer.ts";
import { lowerQos } from "./stored.ts";
import { Key } from "./stream-state.ts";
import { type Delivery, deliveryOf, type Receiver } from "./subscribers.ts";
import { TopicAliases } from "./topic-aliases.ts";
import { publishWill } from "./wills.ts";

const verdictsMax = 1_024;
const allowed = "";
/** How long a client may take to close its side. */
const closeDeadlineMs = 2_000;

export class Connection implements GroupMember, SessionConnection, Watched {
  readonly #shared: Shared;
  readonly #socket: Socket;
  readonly #scanner: PacketScanner;
  readonly #session: ServerSession<Held>;
  readonly #writer: SocketWriter;
  readonly #memo: TopicMemo<Route>;
  readonly #acks = new AckBuffer();
  readonly #sequence = new SequenceReader();
  readonly #verdicts = new Map<Route, string>();
  #lastRoute: Route | undefined;
  #lastVerdict = allowed;
  #publisher!: Publisher;
  /** The session when it outlives this connection. */
  #durable: DurableSession | undefined;
  #aliases: TopicAliases | undefined;
  #inGroup = false;
  #publishes = false;
  /** Chunks that arrived while intake was full or the client was being authenticated. */
  #waiting: Buffer[] = [];
  #held = false;
  #lastPacketMs: number;
  /** Wall clock at the chunk that is being scanned. */
  #arrivalMs = 0;
  #viewed: Buffer | undefined;
  #view: Uint8Array = new Uint8Array(0);
  #closing = false;
  #connected = false;
  /** True while the client does not take its acknowledgements, so that nothing more is read from it. */
  #stalled = false;
  #farewell: Uint8Array[] = [];
  identity: string | undefined;
  clientId = "";

  constructor(socket: Socket, shared: Shared) {
    this.#socket = socket;
    this.#shared = shared;
    const { limits } = shared;
    this.#scanner = new PacketScanner({ from: "client", maximumPacketSize: limits.packetBytesMax });
    this.#session = new ServerSession<Held>({
      ...sessionLimits(limits),
      sharedSubscriptions: shared.sessions !== undefined,
      generateClientId: () => shared.clients.newId(),
      maximumPacketSize: limits.packetBytesMax,
      receiveMaximum: limits.receiveMaximum,
      queueBytesMax: limits.subscriberBytesMax,
    });
    this.#memo = new TopicMemo(shared.router.mqtt);
    this.#writer = new SocketWriter(socket, (writer) => shared.fanOut.flushLater(writer));
    this.#lastPacketMs = performance.now();
    shared.keepAlive.add(this);
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#received(chunk));
    socket.on("drain", () => this.#drained());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#gone());
  }

  get deviceId(): string {
    return this.identity ?? this.clientId;
  }

  get dueMs(): number {
    const { connectDeadlineMs } = this.#shared.limits;
    if (this.#closing) return this.#lastPacketMs + closeDeadlineMs;
    return this.#lastPacketMs + (this.#connected ? this.#session.silenceMaxMs : connectDeadlineMs);
  }
  expired(): void {
    if (this.#connected && !this.#closing) this.#run(this.#session.onTick(this.#lastPacketMs, performance.now()));
    else this.#socket.destroy();
  }

  // ---- from the client

  #received(chunk: Buffer): void {
    this.#lastPacketMs = performance.now();
    if (this.#closing) return;
    this.#waiting.push(chunk);
    if (!this.#held) this.#readWaiting();
  }

  /** Scans what has arrived, as long as there is room for it; else reading stops and TCP slows the client down (P7). */
  #readWaiting(): void {
    for (;;) {
      if (this.#closing) return;
      if (this.#mustHold()) {
        this.#hold();
        return;
      }
      if (!this.#scanner.hasInput) {
        const chunk = this.#waiting.shift();
        if (!chunk) return;
        this.#scanner.feed(chunk);
        this.#arrivalMs = this.#shared.nowMs();
      }
      this.#scan();
      if (this.#held) return;
    }
  }

  #mustHold(): boolean {
    const { ingest, limits } = this.#shared;
    if (ingest.isFull) ingest.pauseUntilRoom(() => this.#release());
    else if (this.#socket.writableLength > limits.subscriberBytesMax) this.#stalled = true;
    else return false;
    return true;
  }
  #hold(): void {
    this.#held = true;
    this.#socket.pause();
  }
  #release(): void {
    this.#held = false;
    this.#readWaiting();
    if (!this.#held && !this.#closing) this.#socket.resume();
  }

  #scan(): void {
    const scanner = this.#scanner;
    try {
      while (!this.#closing && !this.#held) {
        const type = scanner.next();
        if (type === 0) return;
        if (type === packetTypes.publish) this.#onPublish(scanner.publish);
        else if (type === packetTypes.puback && this.#connected) {
          this.#onPuback(scanner);
        } else {
          this.#run(this.#session.onPacket(scanner));
          if (scanner.version === 0) scanner.version = this.#session.version;
        }
      }
    } catch (error) {
      if (!(error instanceof MqttError)) throw error;
      this.#run(this.#session.fail(error));
    }
  }

  #onPuback(packet: PacketScanner): void {
    const { buffer, start } = packet;
    if (this.#session.onPuback(packet) === undefined) return;
    if (this.#durable === undefined) this.#sendQueued();
    else {
      const packetId = (buffer[start] << 8) | buffer[start + 1];
      this.#durable.changed({ type: "acknowledged", packetId, reasonCode: 0, bytes: undefined });
    }
  }

  #onPublish(view: PublishView): void {
    const session = this.#session;
    const { propertiesStart, propertiesEnd } = view;
    const isNumbered =
      propertiesEnd > propertiesStart && this.#sequence.read(view.buffer, propertiesStart, propertiesEnd);
    // What has been read need not be decoded; subscribers get the properties all the same, below.
    if (isNumbered) view.propertiesEnd = propertiesStart;
    const code = session.onPublish(view);
    if (code !== 0) {
      this.#run(session.fail(new MqttError(code, "PUBLISH was refused")));
      return;
    }
    let route: Route;
    try {
      const aliased = session.aliasedTopic;
      route =
        aliased === undefined
          ? this.#memo.lookup(view.buffer, view.topicStart, view.topicEnd)
          : this.#memo.lookup(aliased, 0, aliased.length);
    } catch (error) {
      if (!(error instanceof MqttError) || error.scope === "connection") throw error;
      this.#refuse(view, error.reasonCode, error.message);
      return;
    }
    const verdict = route === this.#lastRoute ? this.#lastVerdict : this.#verdict(route);
    if (verdict !== allowed) {
      this.#refuse(view, reasonCodes.notAuthorized, verdict);
      return;
    }
    const { qos } = view;
    if (qos === 2 && session.isRepeat) {
      // It was taken before: the answer comes behind its group, and nothing is stored again.
      this.#acks.addExact(view.packetId);
      this.#joinGroup();
      this.#shared.ingest.requestGroup();
      return;
    }
    let sent = view.propertiesEnd === propertiesStart ? undefined : session.publishProperties;
    if (isNumbered && (view.retain || this.#shared.fanOut.wants(route))) {
      sent = decodePublishProperties(view.buffer, propertiesStart, propertiesEnd);
    }
    // A view without Buffer's methods: its `subarray` is several times cheaper, and the block builder takes one per payload.
    if (view.buffer !== this.#viewed) {
      this.#viewed = view.buffer;
      this.#view = new Uint8Array(view.buffer.buffer, view.buffer.byteOffset, view.buffer.byteLength);
    }
    const answer = this.#shared.intake.take(
      route,
      this.#publisher,
      this.clientId,
      qos,
      view.retain,
      view.duplicate,
      this.#arrivalMs,
      this.#view,
      view.payloadStart,
      view.payloadEnd,
      sent,
      isNumbered ? this.#sequence.epoch : -1,
      isNumbered ? this.#sequence.sequence : -1,
    );
    if (answer >= 0x80)
      this.#refuse(
        view,
        answer,
        answer === reasonCodes.quotaExceeded ? "a quota is used up" : "hr-epoch and hr-seq are whole numbers",
      );
    else if (qos === 1) {
      this.#acks.add(view.packetId);
      this.#joinGroup();
    } else if (qos === 2) {
      session.took(view.packetId);
      this.#durable?.took(view.packetId);
      this.#acks.addExact(view.packetId);
      this.#joinGroup();
    }
  }

  #verdict(route: Route): string {
    let verdict = this.#verdicts.get(route);
    if (verdict === undefined) {
      verdict = this.#shared.authorize("publish", this.identity, this.clientId, route.topic) ?? allowed;
      if (this.#verdicts.size >= verdictsMax) this.#verdicts.clear();
      this.#verdicts.set(route, verdict);
    }
    this.#lastRoute = route;
    this.#lastVerdict = verdict;
    return verdict;
  }

  /** A message that is not stored: PUBACK with the reason in its place, or for 3.1.1 the end of the connection. */
  #refuse(view: PublishView, reasonCode: number, reason: string): void {
    this.#shared.counters.refused += 1;
    if (view.qos === 0) return;
    const actions = this.#session.refusePublish(view.packetId, reasonCode, reason, view.qos);
    if (this.#session.state === "ended") {
      this.#run(actions);
      return;
    }
    for (const action of actions) if (action.type === "send") this.#acks.addAnswer(action.bytes);
    this.#joinGroup();
    this.#shared.ingest.requestGroup();
  }

  #joinGroup(): void {
    if (this.#inGroup) return;
    this.#inGroup = true;
    if (!this.#publishes) {
      this.#publishes = true;
      this.#shared.ingest.senders += 1;
    }
    this.#shared.ingest.joinSender(this);
  }

  // ---- acknowledgements

  sealed(): void {
    this.#inGroup = false;
    this.#acks.seal();
  }

  settled(error: HeadraceError | undefined): void {
    const acks = this.#acks;
    if (error) this.#refuseAll(error);
    else this.#writer.write(acks.sealedBytes);
    this.#session.acknowledged(acks.sealedCount);
    acks.drop();
    this.#writer.flush();
    if (this.#closing && acks.isEmpty) this.#finish();
  }

  /** Nothing of the group was stored. The session ends: what a device sends next must not overtake what it has to repeat. */
  #refuseAll(error: HeadraceError): void {
    this.#shared.counters.refused += this.#acks.sealedCount;
    if (this.#session.state === "ended") return;
    const { version } = this.#session;
    for (const { packetId, type } of this.#acks.sealedIds()) {
      if (type === packetTypes.pubrec) this.#session.refused(packetId);
      if (version !== 5) continue;
      this.#writer.write(encodeAcknowledgement({ version, type, packetId, reasonCode: reasonCodes.quotaExceeded }));
    }
    this.#acks.drop();
    this.#run(this.#session.disconnect(reasonCodes.quotaExceeded, error.message));
  }

  // ---- session actions

  #run(actions: readonly SessionAction[]): void {
    const isEnd = actions.at(-1)?.type === "close";
    for (const action of actions) {
      switch (action.type) {
        case "send":
          // What ends the connection comes behind the acknowledgements that are due.
          if (isEnd) this.#farewell.push(action.bytes);
          else this.#writer.write(action.bytes);
          break;
        case "authenticate":
          this.#scanner.version = this.#session.version;
          this.#authenticate(action.connect);
          break;
        case "connected":
          this.#connected = true;
          this.#aliases = TopicAliases.for(this.#session.topicAliasMaximum);
          this.#shared.keepAlive.add(this);
          break;
        case "subscribe":
          this.#subscribe(action);
          break;
        case "unsubscribe":
          for (const { filter } of action.subscriptions) {
            this.#shared.fanOut.subscribers.remove(this.#receiver, filter);
            this.#durable?.unsubscribed(filter);
          }
          break;
        case "acknowledged":
        case "received":
        case "released":
          this.#changed(action);
          break;
        case "auth":
          this.#run(
            this.#session.fail(new MqttError(reasonCodes.badAuthenticationMethod, "no such authentication method")),
          );
          break;
        case "close":
          this.#close();
          break;
        default:
          action satisfies never;
      }
    }
  }

  /** Who receives what this client has subscribed to. */
  get #receiver(): Receiver {
    return this.#durable ?? this;
  }

  #changed(change: SessionChange): void {
    if (this.#durable !== undefined) {
      this.#durable.changed(change);
      return;
    }
    if (change.bytes !== undefined) this.#writer.write(change.bytes);
    if (change.type === "acknowledged") this.#sendQueued();
  }

  #authenticate(connect: ConnectRequest): void {
    const answer = this.#shared.authenticate({
      clientId: connect.clientId,
      username: connect.username,
      password: connect.password,
    });
    const admitted = answer instanceof Promise ? this.#admitLater(connect, answer) : this.#admit(connect, answer);
    if (admitted === undefined) return;
    this.#hold();
    void admitted.then(() => {
      if (!this.#socket.destroyed) this.#release();
    });
  }

  async #admitLater(connect: ConnectRequest, answer: Promise<Authentication>): Promise<void> {
    const settled = await answer.catch(() => ({
      reasonCode: reasonCodes.unspecifiedError,
      reason: "authentication failed",
    }));
    if (!this.#socket.destroyed && !this.#closing) await this.#admit(connect, settled);
  }

  #admit(connect: ConnectRequest, answer: Authentication): Promise<void> | undefined {
    if ("reasonCode" in answer) {
      this.#run(this.#session.refuse(answer.reasonCode, answer.reason));
      return undefined;
    }
    this.identity = answer.identity;
    this.clientId = connect.clientId;
    this.#publisher = { client: new InternedString(this.clientId), device: new Key(this.deviceId) };
    this.#shared.clients.claim(this);
    return this.#open(connect);
  }

  /** Finds or begins the session that the client asks for; waits for its messages when they have to be read. */
  #open(connect: ConnectRequest): Promise<void> | undefined {
    const { sessions, limits } = this.#shared;
    const asked = askedExpirySeconds(connect);
    if (sessions === undefined) {
      this.#run(this.#session.accept(connect.version === 5 && asked > 0 ? { sessionExpirySeconds: 0 } : {}));
      return undefined;
    }
    const { clientId, identity } = this;
    const expirySeconds = Math.min(asked, limits.sessionExpiryMaxSeconds);
    const found = sessions.find({ clientId, identity, clean: connect.clean, expirySeconds });
    if (found === "full") {
      this.#run(this.#session.refuse(reasonCodes.quotaExceeded, `${limits.sessionsMax} sessions are kept already`));
      return undefined;
    }
    const { session, isNew } = found;
    if (session === undefined) {
      this.#run(this.#session.accept());
      return undefined;
    }
    const begin = (): void => {
      this.#durable = session;
      session.attach(this, expirySeconds, connect.will, isNew);
      const granted = expirySeconds === asked || connect.version === 4 ? {} : { sessionExpirySeconds: expirySeconds };
      this.#run(this.#session.accept({ session: session.state, sessionPresent: !isNew, ...granted }));
      session.pump();
      for (const { filter } of session.state.subscriptions.values()) this.#shared.subscribed(filter, session);
    };
    const loading = sessions.load(session);
    if (loading === undefined) begin();
    return loading?.then(() => {
      if (this.#socket.destroyed || this.#closing) return;
      if (!session.isEnded) begin();
      else this.end(reasonCodes.sessionTakenOver, "the session ended meanwhile");
    });
  }

  #subscribe(action: SubscribeAction): void {
    const { fanOut, retained, authorize, subscribed, nowMs } = this.#shared;
    const codes = action.requests.map(({ filter, reasonCode }) =>
      reasonCode < 0x80 && authorize("subscribe", this.identity, this.clientId, filter) !== undefined
        ? reasonCodes.notAuthorized
        : reasonCode,
    );
    const { bytes, granted } = this.#session.completeSubscribe(action, codes);
    const receiver = this.#receiver;
    const durable = this.#durable;
    for (const { subscription } of granted) durable?.subscribed(subscription);
    if (durable === undefined) this.#writer.write(bytes);
    else durable.writeLater(bytes);
    for (const { subscription, sendRetained } of granted) {
      fanOut.subscribers.add(receiver, subscription);
      if (!sendRetained) continue;
      const delivery = { ...deliveryOf(receiver, [subscription]), retainAsPublished: true };
      for (const message of retained.matching(subscription.filter, nowMs())) {
        if (durable === undefined || Math.min(message.qos, delivery.qos) === 0) fanOut.deliverTo(message, delivery);
        else if (fanOut.mayReceive(durable, message.topic)) durable.keep(message, delivery);
      }
    }
    for (const { subscription } of granted) subscribed(subscription.filter, receiver);
  }

  /** Ends the session from our side; the client is told why. */
  end(reasonCode: number, reason: string): void {
    this.#run(this.#session.disconnect(reasonCode, reason));
  }

  /** Reads no more; the socket closes when the acknowledgements that are due have been written. */
  #close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#waiting = [];
    this.#lastPacketMs = performance.now();
    this.#shared.keepAlive.add(this);
    if (this.#acks.isEmpty) this.#finish();
  }

  #finish(): void {
    for (const bytes of this.#farewell) this.#writer.write(bytes);
    this.#farewell = [];
    this.#writer.flush();
    this.#socket.end();
    // Without reading, the client's FIN would never be seen.
    this.#socket.resume();
  }

  #gone(): void {
    const { keepAlive, clients, fanOut } = this.#shared;
    this.#closing = true;
    this.#waiting = [];
    keepAlive.remove(this);
    clients.release(this);
    if (this.#publishes) this.#shared.ingest.senders -= 1;
    const { will: left } = this.#session.end();
    const will = this.#connected && !clients.isShuttingDown ? left : undefined;
    const durable = this.#durable;
    if (durable !== undefined && durable.connection === this && !durable.isEnded) {
      const { newSessionExpirySeconds: asked } = this.#session;
      const { sessionExpiryMaxSeconds } = this.#shared.limits;
      const expirySeconds = asked === undefined ? undefined : Math.min(asked, sessionExpiryMaxSeconds);
      durable.detach(will, expirySeconds, this.#shared.nowMs());
      if (durable.expirySeconds === 0) this.#shared.sessions?.end(durable);
      else this.#shared.sessions?.tick();
      return;
    }
    if (durable === undefined && this.#connected) this.#leave(fanOut);
    // Taken over: a will with a delay is not due when the session goes on (§3.1.3.2.2).
    const goesOn = durable !== undefined && !durable.isEnded;
    if (will && !(goesOn && (will.properties?.willDelaySeconds ?? 0) > 0)) {
      publishWill(this.#shared, this, this.#publisher, will);
    }
  }

  /** The session ends with its connection: what was given to it for a group goes to another member (§4.8.2). */
  #leave(fanOut: Shared["fanOut"]): void {
    const { subscriptions, outbox } = this.#session;
    for (const { filter } of [...subscriptions.values()]) fanOut.subscribers.remove(this, filter);
    for (const { message: held, qos } of outbox.inFlight()) {
      if (qos === 1 && held.variant !== undefined) held.share?.receive(held.variant.message);
    }
    for (const { message: held } of outbox.waiting()) {
      if (held.variant !== undefined) held.share?.receive(held.variant.message);
    }
  }

  // ---- to the client

  receive(message: FanOutMessage, delivery: Delivery): boolean {
    const session = this.#session;
    if (session.state !== "connected") return false;
    const variant = message.variant(
      lowerQos(message.qos, delivery.qos),
      message.retain && delivery.retainAsPublished,
      delivery.identifiers,
    );
    const held: Held = delivery.share === undefined ? variant : { variant, share: delivery.share };
    const { outbox } = session;
    const dropped = outbox.droppedCount;
    const { byteLength } = variant.template(session.version === 4 ? 4 : 5).bytes;
    const answer = outbox.offer(held, byteLength, variant.qos);
    this.#shared.fanOut.dropped += outbox.droppedCount - dropped;
    if (answer >= 0) this.#write(variant, answer, false);
    return answer >= offered.queued;
  }

  /** Writes a message that waited or that is durable now; one that has expired, is too large or forbidden meanwhile is given up. */
  send(held: Held, packetId: number, step: "publish" | "again" | "release"): void {
    const { variant } = held;
    const { version } = this.#session;
    if (version === 0 || this.#closing) return;
    if (step === "release") {
      this.#writer.write(encodeAcknowledgement({ version, type: packetTypes.pubrel, packetId }));
      return;
    }
    if (variant !== undefined && this.#isDeliverable(variant, step)) {
      this.#write(variant, packetId, step === "again");
      return;
    }
    this.#shared.fanOut.dropped += 1;
    if (packetId === 0) return;
    if (this.#durable !== undefined) this.#durable.discard(held, packetId);
    else this.#session.outbox.release(packetId);
  }

  #isDeliverable(variant: Variant, step: "publish" | "again"): boolean {
    const { message } = variant;
    // What was sent once is completed even when it has expired (§4.3.3).
    if (step === "publish" && this.#remainingSeconds(message) === 0) return false;
    if (!this.#shared.fanOut.mayReceive(this, message.topic)) return false;
    const { byteLength } = variant.template(this.#session.version === 4 ? 4 : 5).bytes;
    return byteLength <= this.#session.maximumPacketSize;
  }

  /** What is left of a message's expiry, rounded up; undefined when it has none (§3.3.2.3.3). */
  #remainingSeconds(message: FanOutMessage): number | undefined {
    const { messageExpirySeconds } = message.properties;
    if (messageExpirySeconds === undefined) return undefined;
    return Math.max(0, messageExpirySeconds - Math.floor((this.#shared.nowMs() - message.arrivalMs) / 1_000));
  }

  #write(variant: Variant, packetId: number, duplicate: boolean): void {
    const version = this.#session.version === 4 ? 4 : 5;
    const alias = this.#aliases?.of(variant.message.topic) ?? 0;
    const template = alias === 0 ? variant.template(version) : variant.template(version, alias > 0 ? 1 : 2);
    if (duplicate || alias !== 0 || template.expiryOffset >= 0) {
      const expirySeconds = template.expiryOffset < 0 ? undefined : this.#remainingSeconds(variant.message);
      const patch = { duplicate, alias: Math.abs(alias), ...(expirySeconds !== undefined && { expirySeconds }) };
      this.#writer.publish(template, packetId, patch);
    } else this.#writer.publish(template, packetId);
    const { subscriberBytesMax } = this.#shared.limits;
    if (this.#writer.backlogBytes <= subscriberBytesMax) return;
    this.#writer.flush();
    // Above this the socket will say `drain`, which goes on.
    if (this.#socket.writableLength > subscriberBytesMax) this.#session.outbox.writable = false;
  }

  write(bytes: Uint8Array): void {
    this.#writer.write(bytes);
  }

  #sendQueued(): void {
    if (this.#durable !== undefined) {
      this.#durable.pump();
      return;
    }
    const { outbox } = this.#session;
    for (let next = outbox.take(); next; next = outbox.take()) this.send(next.message, next.packetId, next.step);
  }

  #drained(): void {
    if (this.#connected && this.#session.state === "connected" && !this.#session.outbox.writable) {
      this.#session.outbox.writable = true;
      this.#sendQueued();
    }
    if (this.#stalled) {
      this.#stalled = false;
      this.#release();
    }
  }
}

/** How long a session is to live without a connection, as its client asks: for 3.1.1 as long as it may. */
const askedExpirySeconds = ({ version, clean, properties }: ConnectRequest): number => {
  if (version === 5) return properties.sessionExpirySeconds ?? 0;
  return clean ? 0 : Number.POSITIVE_INFINITY;
};
