/** One MQTT connection: socket and scanner on one side, session, intake and subscriptions on the other. */
import type { Socket } from "node:net";
import { InternedString } from "@headrace/engine";
import {
  type ConnectRequest,
  decodePublishProperties,
  type EncodedPublish,
  encodeAcknowledgement,
  MqttError,
  offered,
  PacketScanner,
  type PublishView,
  packetTypes,
  reasonCodes,
  ServerSession,
  type SessionAction,
  type SubscribeAction,
  TopicMemo,
  type Will,
} from "@headrace/mqtt";
import type { HeadraceError } from "@headrace/sdk";
import { AckBuffer } from "./ack-buffer.ts";
import type { FanOutMessage } from "./fan-out-message.ts";
import type { GroupMember, Publisher } from "./ingest.ts";
import type { Watched } from "./keep-alive.ts";
import type { Authentication } from "./policy.ts";
import type { Route } from "./routes.ts";
import { SequenceReader } from "./sequence-reader.ts";
import type { Shared } from "./shared.ts";
import { SocketWriter } from "./socket-writer.ts";
import { Key } from "./stream-state.ts";
import { type Delivery, deliveryOf, type Receiver } from "./subscribers.ts";

const verdictsMax = 1_024;
const allowed = "";
/** How long a client may take to close its side. */
const closeDeadlineMs = 2_000;

export class Connection implements GroupMember, Receiver, Watched {
  readonly #shared: Shared;
  readonly #socket: Socket;
  readonly #scanner: PacketScanner;
  readonly #session: ServerSession<EncodedPublish>;
  readonly #writer: SocketWriter;
  readonly #memo: TopicMemo<Route>;
  readonly #acks = new AckBuffer();
  readonly #sequence = new SequenceReader();
  readonly #verdicts = new Map<Route, string>();
  #lastRoute: Route | undefined;
  #lastVerdict = allowed;
  #publisher!: Publisher;
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
    this.#session = new ServerSession<EncodedPublish>({
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
          this.#session.onPuback(scanner);
          this.#sendQueued();
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
      route = this.#memo.lookup(view.buffer, view.topicStart, view.topicEnd);
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
    const qos = view.qos === 0 ? 0 : 1;
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
    const actions = this.#session.refusePublish(view.packetId, reasonCode, reason);
    if (this.#session.state === "ended") {
      this.#run(actions);
      return;
    }
    for (const action of actions) if (action.type === "send") this.#acks.addRefusal(action.bytes);
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
    if (version === 5) {
      for (const packetId of this.#acks.sealedIds()) {
        this.#writer.write(
          encodeAcknowledgement({ version, type: packetTypes.puback, packetId, reasonCode: reasonCodes.quotaExceeded }),
        );
      }
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
          this.#shared.keepAlive.add(this);
          break;
        case "subscribe":
          this.#subscribe(action);
          break;
        case "unsubscribe":
          for (const { filter } of action.subscriptions) this.#shared.fanOut.subscribers.remove(this, filter);
          break;
        case "acknowledged":
          this.#sendQueued();
          break;
        case "close":
          this.#close();
          break;
        default:
          action satisfies never;
      }
    }
  }

  #authenticate(connect: ConnectRequest): void {
    const answer = this.#shared.authenticate({
      clientId: connect.clientId,
      username: connect.username,
      password: connect.password,
    });
    if (!(answer instanceof Promise)) {
      this.#admit(connect, answer);
      return;
    }
    this.#hold();
    answer
      .catch(() => ({ reasonCode: reasonCodes.unspecifiedError, reason: "authentication failed" }))
      .then((settled) => {
        if (this.#socket.destroyed) return;
        this.#admit(connect, settled);
        this.#release();
      });
  }

  #admit(connect: ConnectRequest, answer: Authentication): void {
    if ("reasonCode" in answer) {
      this.#run(this.#session.refuse(answer.reasonCode, answer.reason));
      return;
    }
    this.identity = answer.identity;
    this.clientId = connect.clientId;
    this.#publisher = { client: new InternedString(this.clientId), device: new Key(this.deviceId) };
    this.#shared.clients.claim(this);
    this.#run(this.#session.accept());
  }

  #subscribe(action: SubscribeAction): void {
    const { fanOut, retained, authorize, subscribed, nowMs } = this.#shared;
    const codes = action.requests.map(({ filter, reasonCode }) =>
      reasonCode < 0x80 && authorize("subscribe", this.identity, this.clientId, filter) !== undefined
        ? reasonCodes.notAuthorized
        : reasonCode,
    );
    const { bytes, granted } = this.#session.completeSubscribe(action, codes);
    this.#writer.write(bytes);
    for (const { subscription, sendRetained } of granted) {
      fanOut.subscribers.add(this, subscription);
      if (!sendRetained) continue;
      const delivery = { ...deliveryOf(this, [subscription]), retainAsPublished: true };
      for (const message of retained.matching(subscription.filter, nowMs())) fanOut.deliverTo(message, delivery);
    }
    for (const { subscription } of granted) subscribed(subscription.filter, this);
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
    const { will, subscriptions } = this.#session.end();
    for (const { filter } of subscriptions) fanOut.subscribers.remove(this, filter);
    if (will && this.#connected && !clients.isShuttingDown) this.#publishWill(will);
  }

  #publishWill(will: Will): void {
    const { router, intake, authorize, nowMs, counters } = this.#shared;
    const topic = Buffer.from(will.topic);
    const { payload, retain, properties } = will;
    const route = router.mqtt.lookup(topic, 0, topic.length);
    if (authorize("publish", this.identity, this.clientId, will.topic) !== undefined) {
      counters.refused += 1;
      return;
    }
    const answer = intake.take(
      route,
      this.#publisher,
      this.clientId,
      will.qos === 0 ? 0 : 1,
      retain,
      false,
      nowMs(),
      payload,
      0,
      payload.byteLength,
      properties,
    );
    if (answer >= 0x80) counters.refused += 1;
  }

  // ---- to the client

  receive(message: FanOutMessage, delivery: Delivery): boolean {
    const session = this.#session;
    if (session.state !== "connected") return false;
    const qos = message.qos === 1 && delivery.qos === 1 ? 1 : 0;
    const template = message.encode(
      session.version === 5 ? 5 : 4,
      qos,
      message.retain && delivery.retainAsPublished,
      delivery.identifiers,
    );
    const { outbox } = session;
    const dropped = outbox.droppedCount;
    const answer = outbox.offer(template, template.bytes.byteLength, qos);
    this.#shared.fanOut.dropped += outbox.droppedCount - dropped;
    if (answer >= 0) this.#write(template, answer);
    return answer >= offered.queued;
  }

  #write(template: EncodedPublish, packetId: number): void {
    this.#writer.publish(template, packetId);
    const { subscriberBytesMax } = this.#shared.limits;
    if (this.#writer.backlogBytes <= subscriberBytesMax) return;
    this.#writer.flush();
    // Above this the socket will say `drain`, which goes on.
    if (this.#socket.writableLength > subscriberBytesMax) this.#session.outbox.writable = false;
  }

  #sendQueued(): void {
    const { outbox } = this.#session;
    for (let next = outbox.take(); next; next = outbox.take()) this.#write(next.message, next.packetId);
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
