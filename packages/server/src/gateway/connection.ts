/** One MQTT connection: wire and scanner on one side, session, intake and subscriptions on the other. */
import { InternedString } from "@headrace/engine";
import {
  type ConnectRequest,
  decodePublishProperties,
  MqttError,
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
import { Admission, type Admitted } from "./admission.ts";
import { ConnectionRecord, type Viewed } from "./connection-record.ts";
import type { Desk, DeskConnection, KeptSession } from "./desk.ts";
import type { Visit } from "./door.ts";
import type { FanOutMessage, Held } from "./fan-out-message.ts";
import type { GroupMember, Publisher } from "./ingest.ts";
import { refusalReason } from "./intake.ts";
import type { Listed } from "./listed.ts";
import type { ListenerFigures } from "./listener-figures.ts";
import { OutgoingMessages } from "./outgoing.ts";
import { Patience } from "./patience.ts";
import { Reading } from "./reading.ts";
import type { Delivery } from "./receiver.ts";
import { refuseGroup } from "./refuse-group.ts";
import type { RetainedDelivery } from "./retained-delivery.ts";
import type { Route } from "./routes.ts";
import { SequenceReader } from "./sequence-reader.ts";
import { sessionLimits } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { SocketWriter } from "./socket-writer.ts";
import { Key } from "./stream-state.ts";
import { retainedDelivery } from "./subscribe.ts";
import type { Peer, Wire } from "./transports/transport.ts";
import { allowed, Verdicts } from "./verdicts.ts";

/** Answers to one client that wait for their group; then it is not read. */
const answersBytesMax = 64 * 1024;

/** How long a client that may only be told that there are too many may take to ask. */
const refusalDeadlineMs = 1_000;

export class Connection implements GroupMember, DeskConnection {
  readonly #shared: Shared;
  readonly #desk: Desk;
  readonly #record: ConnectionRecord;
  readonly #socket: Wire;
  readonly #scanner: PacketScanner;
  readonly #session: ServerSession<Held>;
  readonly #writer: SocketWriter;
  readonly #memo: TopicMemo<Route>;
  readonly #acks = new AckBuffer();
  readonly #sequence = new SequenceReader();
  readonly #verdicts: Verdicts;
  readonly #admission: Admission;
  #publisher!: Publisher;
  /** The session when it outlives this connection. */
  #durable: KeptSession | undefined;
  readonly #outgoing: OutgoingMessages;
  readonly retained: RetainedDelivery;
  #inGroup = false;
  #publishes = false;
  readonly #reading: Reading;
  /** Accepted bytes that are not durable: of the open group, and of the one on its way. */
  #openBytes = 0;
  #sealedBytes = 0;
  readonly #patience: Patience;
  #scanned: Buffer | undefined;
  #view: Uint8Array = new Uint8Array(0);
  #closing = false;
  #connected = false;
  #farewell: Uint8Array[] = [];
  identity: string | undefined;
  clientId = "";

  constructor(socket: Wire, shared: Shared, desk: Desk, peer: Peer, visit: Visit, figures: ListenerFigures) {
    this.#socket = socket;
    this.#shared = shared;
    this.#desk = desk;
    this.#record = new ConnectionRecord(shared, socket, peer, figures);
    const { limits, ingest } = shared;
    this.#scanner = new PacketScanner({ from: "client", maximumPacketSize: limits.packetBytesMax });
    this.#session = new ServerSession<Held>({
      ...sessionLimits(limits),
      extendedAuthentication: (shared.mechanisms?.size ?? 0) > 0,
      sharedSubscriptions: true,
      generateClientId: () => shared.clients.newId(),
      maximumPacketSize: limits.packetBytesMax,
      receiveMaximum: ingest.isHalfFull ? Math.max(1, limits.receiveMaximum >> 3) : limits.receiveMaximum,
      keepAliveMaxSeconds: limits.keepAliveMaxSeconds,
      idleMaxSeconds: limits.idleMaxSeconds,
      queueBytesMax: limits.subscriberBytesMax,
      inFlightBytesMax: limits.inFlightToClientBytesMax,
      outboxBudget: shared.outgoing,
    });
    this.#memo = new TopicMemo(shared.router.mqtt);
    this.#writer = new SocketWriter(socket, shared.outgoing, (writer) => shared.fanOut.flushLater(writer));
    this.#verdicts = new Verdicts((topic) => shared.authorize("publish", this.identity, this.clientId, topic));
    const [session, writer, traffic] = [this.#session, this.#writer, this.#record.messages];
    this.#outgoing = new OutgoingMessages({ shared, session, socket, writer, receiver: this, traffic });
    this.#admission = new Admission({
      shared,
      session,
      run: (actions) => this.#run(actions),
      identity: () => this.identity,
      peer,
      visit,
      admit: (connect, answer) => this.#admit(connect, answer),
      wait: (done) => this.#reading.wait(done),
      isGone: () => this.isGone,
    });
    this.retained = retainedDelivery(shared, this.#session);
    this.#patience = new Patience({
      keepAlive: shared.keepAlive,
      limits,
      reasons: shared.counters.reasons,
      acceptedMs: peer.acceptedMs,
      connectDeadlineMs: visit.isOver
        ? Math.min(refusalDeadlineMs, limits.connectDeadlineMs)
        : limits.connectDeadlineMs,
      silenceMaxMs: () => this.#session.silenceMaxMs,
      onSilent: (lastMs, nowMs) => this.#run(this.#session.onTick(lastMs, nowMs)),
      destroy: () => socket.destroy(),
    });
    this.#reading = new Reading({
      shared,
      wire: socket,
      scanner: this.#scanner,
      patience: this.#patience,
      scan: () => this.#scan(),
      isConnected: () => this.#connected,
      isClosing: () => this.#closing,
      mustWaitForGroup: () => this.#mustWaitForGroup(),
    });
    socket.on("data", (chunk) => {
      this.#patience.heard();
      this.#reading.received(chunk);
    });
    socket.on("drain", () => this.#drained());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#gone());
  }

  get deviceId(): string {
    return this.identity ?? this.clientId;
  }

  get isGone(): boolean {
    return this.#socket.destroyed || this.#closing;
  }
  get isConnected(): boolean {
    return this.#connected && !this.#closing;
  }
  view(): Listed {
    return this.#record.view(this.#viewed);
  }
  get #viewed(): Viewed {
    const { clientId, identity } = this;
    const { lastMs } = this.#patience;
    return { clientId, identity, session: this.#session, durable: this.#durable, lastMs };
  }

  // ---- from the client

  /** Above these the client waits for its group: what is accepted, what a 3.1.1 client was never told, what it gets as answers. */
  #mustWaitForGroup(): boolean {
    const isOver =
      this.#openBytes + this.#sealedBytes > this.#shared.limits.inFlightFromClientBytesMax ||
      this.#acks.byteLength > answersBytesMax ||
      (this.#connected && this.#session.isWindowFull && this.#session.version === 4);
    if (isOver) {
      this.#joinGroup();
      this.#shared.ingest.requestGroup();
    }
    return isOver;
  }

  #scan(): void {
    const scanner = this.#scanner;
    try {
      while (!this.#closing && !this.#reading.isHeld) {
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
    this.retained.go();
  }

  #onPublish(view: PublishView): void {
    const session = this.#session;
    this.#record.messages.cameIn(view.qos);
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
    const verdict = this.#verdicts.of(route);
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
    if (view.buffer !== this.#scanned) {
      this.#scanned = view.buffer;
      this.#view = new Uint8Array(view.buffer.buffer, view.buffer.byteOffset, view.buffer.byteLength);
    }
    const { ingest, intake } = this.#shared;
    const bytesBefore = ingest.waitingBytes;
    const answer = intake.take(
      route,
      this.#publisher,
      this.clientId,
      qos,
      view.retain,
      view.duplicate,
      this.#reading.arrivalMs,
      this.#view,
      view.payloadStart,
      view.payloadEnd,
      sent,
      isNumbered ? this.#sequence.epoch : -1,
      isNumbered ? this.#sequence.sequence : -1,
    );
    this.#openBytes += ingest.waitingBytes - bytesBefore;
    if (answer >= 0x80) this.#refuse(view, answer, refusalReason(answer));
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

  /** A message that is not stored: PUBACK with the reason in its place, or for 3.1.1 the end of the connection. */
  #refuse(view: PublishView, reasonCode: number, reason: string): void {
    this.#record.publishRefused(reasonCode);
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
    this.#sealedBytes = this.#openBytes;
    this.#openBytes = 0;
    this.#acks.seal();
  }

  settled(error: HeadraceError | undefined): void {
    const acks = this.#acks;
    if (error) this.#refuseAll(error);
    else this.#writer.write(acks.sealedBytes);
    this.#session.acknowledged(acks.sealedCount);
    acks.drop();
    this.#sealedBytes = 0;
    this.#reading.groupSettled();
    if (this.#closing && acks.isEmpty) this.#finish();
  }

  /** Nothing of the group was stored. The session ends: what a device sends next must not overtake what it has to repeat. */
  #refuseAll(error: HeadraceError): void {
    this.#record.groupRefused(this.#acks.sealedCount);
    if (this.#session.state === "ended") return;
    refuseGroup(this.#acks, this.#session, this.#writer);
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
          this.#patience.steps();
          this.#admission.begin(action.connect);
          break;
        case "connected":
          this.#connected = true;
          this.#record.connected(this.#viewed);
          this.#outgoing.connected();
          this.#patience.connected();
          break;
        case "subscribe":
          this.#subscribe(action);
          break;
        case "unsubscribe":
          for (const { filter } of action.subscriptions) {
            this.#desk.unsubscribe(this, this.#durable, filter);
            this.retained.drop(filter);
          }
          break;
        case "acknowledged":
        case "received":
        case "released":
          this.#changed(action);
          break;
        case "auth":
          this.#patience.steps();
          this.#admission.step(action.method, action.data, action.isAgain);
          break;
        case "close":
          this.#record.ends(action);
          this.#close();
          break;
        default:
          action satisfies never;
      }
    }
  }

  #subscribe(action: SubscribeAction): void {
    const done = this.#desk.subscribe({ session: this.#session, action, connection: this, durable: this.#durable });
    if (done !== undefined) this.#reading.wait(done);
  }

  #changed(change: SessionChange): void {
    if (this.#durable !== undefined) this.#durable.changed(change);
    else {
      if (change.bytes !== undefined) this.#writer.write(change.bytes);
      if (change.type === "acknowledged") this.#sendQueued();
    }
    this.retained.go();
  }

  #admit(connect: ConnectRequest, answer: Admitted): Promise<void> | undefined {
    this.identity = answer.identity;
    this.clientId = connect.clientId;
    this.#publisher = { client: new InternedString(this.clientId), device: new Key(this.deviceId) };
    return this.#desk.open({
      connect,
      connection: this,
      begin: (session) => {
        if (this.isGone) return undefined;
        this.#durable = session;
        return this.#session;
      },
      run: (actions) => this.#run(actions),
      authenticationData: answer.data,
    });
  }

  /** Ends the session from our side; the client is told why. */
  end(reasonCode: number, reason: string): void {
    this.#run(this.#session.disconnect(reasonCode, reason));
  }

  /** Reads no more; the socket closes when the acknowledgements that are due have been written. */
  #close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#reading.stop();
    this.#patience.closing();
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
    const { clients } = this.#shared;
    this.#closing = true;
    this.#reading.stop();
    this.#patience.end();
    this.#writer.close();
    this.retained.end();
    clients.release(this);
    this.#record.gone(this.#viewed);
    if (this.#publishes) this.#shared.ingest.senders -= 1;
    const { will } = this.#session.end();
    if (!this.#connected) return;
    const left = { connection: this, session: this.#session, durable: this.#durable, publisher: this.#publisher };
    this.#desk.leave(left, clients.isShuttingDown ? undefined : will);
  }

  // ---- to the client

  receive(message: FanOutMessage, delivery: Delivery): boolean {
    return this.#outgoing.receive(message, delivery);
  }

  send(held: Held, packetId: number, step: "publish" | "again" | "release"): void {
    if (this.#closing || this.#outgoing.send(held, packetId, step) || packetId === 0) return;
    if (this.#durable !== undefined) this.#durable.discard(packetId);
    else this.#session.outbox.release(packetId);
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
    this.#writer.settle();
    if (this.#connected && this.#session.state === "connected" && !this.#session.outbox.writable) {
      this.#session.outbox.writable = true;
      this.#sendQueued();
      this.retained.go();
    }
    this.#reading.drained();
  }
}
