import { decodeAcknowledgement, encodeAcknowledgement, shortPuback } from "./acknowledgement.ts";
import { acknowledgementActions } from "./acknowledgement-actions.ts";
import { decodeAuth, encodeAuth } from "./auth.ts";
import { connackReturnCode, encodeConnack } from "./connack.ts";
import { decodeConnect, peekConnectProtocol, type Will } from "./connect.ts";
import { checkConnect, checkDisconnect, keepAliveInForce, offerOf, outboxOptions, windowOf } from "./connect-rules.ts";
import { decodeDisconnect, encodeDisconnect, encodePingresp } from "./disconnect.ts";
import { MqttError, malformed, protocolError, reasonCodes } from "./errors.ts";
import { InboundAliases } from "./inbound-aliases.ts";
import type { Outbox } from "./outbox.ts";
import { type ProtocolVersion, packetTypes, type RawPacket } from "./packet.ts";
import { decodePublishProperties, type Properties, type PublishProperties } from "./properties.ts";
import type { PublishView } from "./publish-view.ts";
import type { ConnectRequest, SessionAction, SessionOptions, SubscribeAction } from "./session-actions.ts";
import { SessionState } from "./session-state.ts";
import { decodeSubscribe, decodeUnsubscribe, encodeSuback, encodeUnsuback } from "./subscribe.ts";
import type { GrantedSubscription, SubscriptionList } from "./subscriptions.ts";

/** The life of a session; `connect` is there from the moment at which CONNECT was understood. */
type State =
  | { readonly name: "connecting"; version: ProtocolVersion | 0 }
  | { readonly name: "authenticating" | "connected"; readonly connect: ConnectRequest }
  | { readonly name: "ended"; readonly connect: ConnectRequest | undefined };

const noActions: readonly SessionAction[] = [];
const pong: readonly SessionAction[] = [{ type: "send", bytes: encodePingresp() }];
const noProperties: PublishProperties = Object.freeze({});

/**
 * The server's side of one MQTT connection, without sockets and timers: packets in, actions out (MQTT 5.0 §4).
 *
 * connecting ─CONNECT→ authenticating ─accept→ connected ─DISCONNECT, fail, disconnect→ ended
 *
 * The edge owns the socket and the scanner: it passes PUBLISH to `onPublish` and every other packet to `onPacket`,
 * sets `scanner.version` from `version` after CONNECT, and calls `fail` with each MqttError that the scanner or the
 * topic cache throws. When the socket is gone, for whatever reason, it calls `end` once.
 *
 * What outlives a connection is in {@link SessionState}: give `accept` the one that the client left behind, or none for
 * a new one. Where sessions are durable, the edge makes each change durable before it writes the answer to it.
 *
 * @typeParam M what the edge keeps of an outgoing message while it waits or is in flight
 */
export class ServerSession<M = unknown> {
  /** Properties of the PUBLISH last given to `onPublish`; an empty object when it had none. */
  publishProperties: PublishProperties = noProperties;
  /** The topic of the PUBLISH last given to `onPublish` when it came as an alias; else undefined. */
  aliasedTopic: Buffer | undefined;
  /** Whether the PUBLISH last given to `onPublish` repeats a QoS 2 message that was taken: answer it, take nothing. */
  isRepeat = false;
  readonly #options: SessionOptions;
  readonly #receiveMaximum: number;
  #state: State = { name: "connecting", version: 0 };
  #session: SessionState<M> | undefined;
  #sessionExpirySeconds: number | undefined;
  #aliases: InboundAliases | undefined;
  #authPackets = 0;
  #unacknowledged = 0;
  #will: Will | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#receiveMaximum = options.receiveMaximum ?? 1_000;
  }

  get state(): State["name"] {
    return this.#state.name;
  }

  /** 0 until CONNECT has said it. */
  get version(): ProtocolVersion | 0 {
    return this.#state.name === "connecting" ? this.#state.version : (this.#state.connect?.version ?? 0);
  }

  /** Throws Error before CONNECT. */
  get clientId(): string {
    return this.#connect().clientId;
  }

  /** What outlives the connection, if the session does. Throws Error before `accept`. */
  get session(): SessionState<M> {
    if (this.#session === undefined) throw new Error("the session is not connected");
    return this.#session;
  }

  /** Messages to the client. Throws Error before `accept`. */
  get outbox(): Outbox<M> {
    return this.session.outbox;
  }

  get subscriptions(): SubscriptionList {
    return this.session.subscriptions;
  }

  /** What the client asked for. Throws Error before CONNECT. */
  get connectRequest(): ConnectRequest {
    return this.#connect();
  }

  /** QoS 1 and 2 messages of the client whose end is due. */
  get unacknowledgedCount(): number {
    return this.#unacknowledged + (this.#session?.received.size ?? 0);
  }

  /** Whether the client uses up its window: a 3.1.1 client knows no window, so stop reading its socket then. */
  get isWindowFull(): boolean {
    return this.#unacknowledged >= this.#receiveMaximum;
  }

  /** Largest packet that the client takes, in bytes; Infinity when it set none. */
  get maximumPacketSize(): number {
    return this.#connect().properties.maximumPacketSize ?? Number.POSITIVE_INFINITY;
  }

  /** Topic aliases that the client takes; 0 in 3.1.1. */
  get topicAliasMaximum(): number {
    return this.#connect().properties.topicAliasMaximum ?? 0;
  }

  /** What DISCONNECT changed the session expiry to, in seconds; undefined when it did not (§3.14.2.2.2). */
  get newSessionExpirySeconds(): number | undefined {
    return this.#sessionExpirySeconds;
  }

  /** Why the client may say how its errors came to be, and whether it wants to hear ours (§3.1.2.11.7). */
  get wantsReasons(): boolean {
    return this.#connect().properties.requestProblemInformation !== false;
  }

  /**
   * For how long the client may be silent, in milliseconds: one and a half times the keep alive in force
   * (MQTT 5.0 §3.1.2.10). Before `accept` it is Infinity: the edge has its own deadline for CONNECT.
   */
  get silenceMaxMs(): number {
    if (this.#state.name !== "connected") return Number.POSITIVE_INFINITY;
    const { version, keepAliveSeconds } = this.#state.connect;
    if (version === 5) return keepAliveInForce(keepAliveSeconds, this.#options) * 1_500;
    const idleMaxMs = (this.#options.idleMaxSeconds ?? 86_400) * 1_000;
    return keepAliveSeconds === 0 ? idleMaxMs : Math.min(keepAliveSeconds * 1_500, idleMaxMs);
  }

  /** Ends a silent session: DISCONNECT 0x8D when nothing arrived since `lastPacketMs` for too long; else no action. */
  onTick(lastPacketMs: number, nowMs: number): readonly SessionAction[] {
    if (nowMs - lastPacketMs < this.silenceMaxMs) return noActions;
    return this.disconnect(reasonCodes.keepAliveTimeout, "keep alive timeout");
  }

  /**
   * Takes a PUBLISH (§3.3): 0 to go on, or the reason code (0x80 and above) with which to call {@link fail}. The topic
   * is not looked at; properties are decoded into `publishProperties` when there are any.
   */
  onPublish(view: PublishView): number {
    if (this.#state.name !== "connected") return reasonCodes.protocolError;
    if (view.qos !== 0) {
      const session = this.#session as SessionState<M>;
      this.isRepeat = false;
      if (view.qos === 2 && session.received.has(view.packetId)) this.isRepeat = true;
      // §3.3.4: the window binds version 5 clients only; a 3.1.1 client is slowed down by its socket.
      else if (
        this.#unacknowledged + session.received.size >= this.#receiveMaximum &&
        this.#state.connect.version === 5
      ) {
        return reasonCodes.receiveMaximumExceeded;
      } else if (view.qos === 1) this.#unacknowledged += 1;
    }
    if (this.aliasedTopic !== undefined) this.aliasedTopic = undefined;
    if (view.propertiesEnd === view.propertiesStart) {
      this.publishProperties = noProperties;
      // §3.3.2.1: without an alias the topic must not be empty.
      return view.topicStart === view.topicEnd ? reasonCodes.topicNameInvalid : 0;
    }
    return this.#onPublishProperties(view);
  }

  /** Tells that a QoS 2 message was taken: it repeats from now on until PUBREL. */
  took(packetId: number): void {
    this.session.received.add(packetId);
  }

  /** Tells that a QoS 2 message was refused after all, with an error in PUBREC. */
  refused(packetId: number): void {
    this.session.received.delete(packetId);
  }

  /** Tells that PUBACKs were sent for this many messages (durable ones, or refused ones). */
  acknowledged(count: number): void {
    this.#unacknowledged = Math.max(0, this.#unacknowledged - count);
  }

  /** Takes a PUBACK on the hot path and returns the message it releases; undefined for an unknown identifier (§4.3.2). */
  onPuback(packet: RawPacket): M | undefined {
    const version = this.#connectedVersion();
    const { buffer, start, end } = packet;
    const short = shortPuback(buffer, start, end);
    const packetId = short !== 0 ? short : decodeAcknowledgement(version, packet.type, buffer, start, end).packetId;
    if (this.outbox.isExact(packetId)) throw protocolError(`PUBACK for the QoS 2 message ${packetId} (§4.3.3)`);
    return this.outbox.release(packetId);
  }

  /** Takes any packet but PUBLISH. Errors of the client become actions that end the session. */
  onPacket(packet: RawPacket): readonly SessionAction[] {
    if (this.#state.name === "ended") return noActions;
    try {
      return this.#dispatch(packet);
    } catch (error) {
      if (error instanceof MqttError) return this.fail(error);
      throw error;
    }
  }

  /**
   * The client may connect: CONNACK with what this server offers (§3.2.2.3), then `connected`.
   *
   * @param options.session the one that the client left behind; a new one by default
   * @param options.sessionExpirySeconds what is granted when that is not what the client asked for
   * @param options.authenticationData the last word of extended authentication
   */
  accept(
    options: {
      readonly session?: SessionState<M> | undefined;
      readonly sessionPresent?: boolean;
      readonly sessionExpirySeconds?: number | undefined;
      readonly authenticationData?: Uint8Array | undefined;
      readonly responseInformation?: string | undefined;
    } = {},
  ): readonly SessionAction[] {
    if (this.#state.name !== "authenticating") throw new Error(`accept() while ${this.#state.name}`);
    const { connect } = this.#state;
    this.#state = { name: "connected", connect };
    this.#will = connect.will;
    const window = windowOf(connect);
    if (options.session === undefined) {
      this.#session = new SessionState({ limits: this.#options, outbox: outboxOptions(window, this.#options) });
    } else {
      this.#session = options.session;
      this.#session.outbox.resume(window);
    }
    const { version, clientId } = connect;
    const { sessionExpirySeconds, authenticationData, responseInformation } = options;
    const { authenticationMethod } = connect.properties;
    const properties: Properties = {
      ...offerOf(connect, this.#options),
      ...(sessionExpirySeconds !== undefined && { sessionExpirySeconds }),
      ...(authenticationMethod !== undefined && { authenticationMethod }),
      ...(authenticationData !== undefined && { authenticationData }),
      ...(responseInformation !== undefined &&
        connect.properties.requestResponseInformation === true && { responseInformation }),
    };
    const sessionPresent = options.sessionPresent ?? false;
    const bytes = encodeConnack({ version, reasonCode: reasonCodes.success, sessionPresent, properties });
    return [
      { type: "send", bytes },
      { type: "connected", clientId, version },
    ];
  }

  /** Asks the client for the next step of extended authentication, before or after `accept` (§4.12). */
  challenge(data: Uint8Array | undefined): readonly SessionAction[] {
    return [{ type: "send", bytes: this.#auth(reasonCodes.continueAuthentication, data) }];
  }

  /** Tells the client that it has authenticated itself again (§4.12.1). */
  authenticated(data: Uint8Array | undefined): readonly SessionAction[] {
    return [{ type: "send", bytes: this.#auth(reasonCodes.success, data) }];
  }

  /** The client may not connect: CONNACK with the code (translated for 3.1.1), then `close`. */
  refuse(reasonCode: number, reason = "refused", serverReference?: string): readonly SessionAction[] {
    return this.#close(this.#connackRefusal(reasonCode, reason, serverReference), reasonCode, reason);
  }

  /**
   * Answers a SUBSCRIBE. `codes` holds one reason code per request, by default those the protocol gave; a policy
   * raises some to 0x87. Write the bytes, then deliver retained messages where they are due.
   */
  completeSubscribe(
    action: SubscribeAction,
    codes: readonly number[] = action.requests.map((request) => request.reasonCode),
  ): { readonly bytes: Uint8Array; readonly granted: readonly GrantedSubscription[] } {
    const version = this.#connectedVersion();
    if (codes.length !== action.requests.length) throw new Error("one reason code per request is needed");
    const granted = this.subscriptions.grant(action.requests, codes, action.identifier);
    return { bytes: encodeSuback(version, action.packetId, codes), granted };
  }

  /**
   * Refuses one message that was not stored: PUBACK or PUBREC with the code in version 5 (§3.4.2.1, §3.5.2.1). 3.1.1
   * cannot say so, and silence would make the client wait for ever, so its connection is closed.
   */
  refusePublish(packetId: number, reasonCode: number, reason: string, qos: 1 | 2 = 1): readonly SessionAction[] {
    const version = this.#connectedVersion();
    if (version === 4) return this.fail(new MqttError(reasonCode, reason));
    if (qos === 1) this.acknowledged(1);
    const type = qos === 1 ? packetTypes.puback : packetTypes.pubrec;
    const plain = { version, type, packetId, reasonCode };
    if (!this.wantsReasons) return [{ type: "send", bytes: encodeAcknowledgement(plain) }];
    return [
      {
        type: "send",
        bytes: this.#fitting(encodeAcknowledgement({ ...plain, reasonString: reason }), () =>
          encodeAcknowledgement(plain),
        ),
      },
    ];
  }

  /** Ends the session because of an error: DISCONNECT or CONNACK with the code where the version has one (§4.13). */
  fail(error: MqttError): readonly SessionAction[] {
    if (this.#state.name === "ended") return noActions;
    if (this.#state.name !== "connected") return this.refuse(error.reasonCode, error.message);
    return this.disconnect(error.reasonCode, error.message);
  }

  /** Ends the session from our side: shutting down 0x8B, taken over 0x8E, administrative action 0x98. */
  disconnect(reasonCode: number, reason: string, serverReference?: string): readonly SessionAction[] {
    if (this.#state.name === "ended") return noActions;
    if (this.#state.name !== "connected") return this.refuse(reasonCode, reason, serverReference);
    const more: Properties = serverReference === undefined ? {} : { serverReference };
    const bytes =
      this.#state.connect.version === 5
        ? this.#fitting(encodeDisconnect(5, reasonCode, reason, more), () => encodeDisconnect(5, reasonCode))
        : undefined;
    return this.#close(bytes, reasonCode, reason);
  }

  /**
   * The connection is gone. Returns the will that is due, once (§3.1.2.5: none after a regular DISCONNECT); a delay of
   * the will is for the edge to keep.
   */
  end(): { readonly will: Will | undefined } {
    const will = this.#will;
    this.#will = undefined;
    if (this.#state.name !== "ended") {
      const connect = this.#state.name === "connecting" ? undefined : this.#state.connect;
      this.#state = { name: "ended", connect };
    }
    return { will };
  }

  #dispatch(packet: RawPacket): readonly SessionAction[] {
    const { type, buffer, start, end } = packet;
    if (this.#state.name === "connecting") {
      if (type !== packetTypes.connect) throw protocolError("the first packet is not CONNECT (§3.1)");
      return this.#onConnect(buffer, start, end);
    }
    if (this.#state.name === "authenticating") return this.#whileAuthenticating(packet);
    const version = this.#connectedVersion();
    switch (type) {
      case packetTypes.puback:
      case packetTypes.pubrec:
      case packetTypes.pubrel:
      case packetTypes.pubcomp:
        return acknowledgementActions(version, packet, this.session);
      case packetTypes.subscribe: {
        const subscribe = decodeSubscribe(version, buffer, start, end);
        const requests = this.subscriptions.examine(subscribe);
        const { packetId, properties } = subscribe;
        const identifier = properties.subscriptionIdentifiers?.[0];
        return [{ type: "subscribe", packetId, requests, identifier, properties }];
      }
      case packetTypes.unsubscribe: {
        const { packetId, filters } = decodeUnsubscribe(version, buffer, start, end);
        const { removed, codes } = this.subscriptions.remove(filters);
        const bytes = encodeUnsuback(version, packetId, codes);
        return [
          { type: "unsubscribe", subscriptions: removed },
          { type: "send", bytes },
        ];
      }
      case packetTypes.pingreq:
        if (end !== start) throw malformed("PINGREQ has a body (§3.12)");
        return pong;
      case packetTypes.disconnect:
        return this.#onDisconnect(version, packet);
      case packetTypes.auth:
        return this.#onAuth(packet, reasonCodes.reAuthenticate);
      case packetTypes.connect:
        throw protocolError("a second CONNECT (§3.1)");
      default:
        throw protocolError(`packet type ${type} does not come from a client`);
    }
  }

  // §4.12: between CONNECT and CONNACK only AUTH and DISCONNECT may come; the edge scans nothing while it decides.
  #whileAuthenticating(packet: RawPacket): readonly SessionAction[] {
    if (packet.type === packetTypes.disconnect) return this.#close(undefined, 0, "the client disconnected", true);
    if (packet.type !== packetTypes.auth) throw protocolError("a packet before CONNACK that is not AUTH (§4.12)");
    return this.#onAuth(packet, reasonCodes.continueAuthentication);
  }

  #onAuth({ buffer, start, end }: RawPacket, expected: number): readonly SessionAction[] {
    const { authenticationMethod: method } = this.#connect().properties;
    const { reasonCode, properties } = decodeAuth(buffer, start, end);
    if (method === undefined) throw protocolError("AUTH, but CONNECT named no method (§4.12)");
    if (properties.authenticationMethod !== method) {
      throw new MqttError(reasonCodes.badAuthenticationMethod, "AUTH with another method than CONNECT (§4.12)");
    }
    this.#authPackets += 1;
    if (this.#authPackets > (this.#options.authPacketsMax ?? 32)) {
      throw new MqttError(reasonCodes.quotaExceeded, "too many AUTH packets on one connection");
    }
    const isAgain = this.#state.name === "connected";
    if (reasonCode !== expected && !(isAgain && reasonCode === reasonCodes.continueAuthentication)) {
      throw protocolError(`AUTH with reason code 0x${reasonCode.toString(16)} is not expected (§3.15.2.1)`);
    }
    const begins = reasonCode === reasonCodes.reAuthenticate;
    return [{ type: "auth", method, data: properties.authenticationData, isAgain: begins }];
  }

  #auth(reasonCode: number, data: Uint8Array | undefined): Uint8Array {
    const { authenticationMethod = "" } = this.#connect().properties;
    return encodeAuth(reasonCode, { authenticationMethod, ...(data !== undefined && { authenticationData: data }) });
  }

  #onConnect(buffer: Uint8Array, start: number, end: number): readonly SessionAction[] {
    const { name, level } = peekConnectProtocol(buffer, start, end);
    if ((name !== "MQTT" && name !== "MQIsdp") || (name === "MQTT" && level === 0)) {
      throw new MqttError(reasonCodes.unsupportedProtocolVersion, "CONNECT of another protocol (§3.1.2.1)");
    }
    // An unknown version is answered in the form it is likeliest to understand (§3.1.2.2).
    this.#state = { name: "connecting", version: name === "MQTT" && level >= 5 ? 5 : 4 };
    const connect = checkConnect(decodeConnect(buffer, start, end), this.#options);
    this.#state = { name: "authenticating", connect };
    return [{ type: "authenticate", connect }];
  }

  #onPublishProperties(view: PublishView): number {
    try {
      const properties = decodePublishProperties(view.buffer, view.propertiesStart, view.propertiesEnd);
      // §3.3.4: only a server sends subscription identifiers.
      if (properties.subscriptionIdentifiers !== undefined) return reasonCodes.protocolError;
      const alias = properties.topicAlias;
      if (alias === undefined) {
        this.publishProperties = properties;
        return view.topicStart === view.topicEnd ? reasonCodes.protocolError : 0;
      }
      const { topicAlias: _alias, ...rest } = properties;
      this.publishProperties = rest;
      this.#aliases ??= new InboundAliases(this.#options.topicAliasMaximum ?? 32);
      const code = this.#aliases.take(view, alias);
      this.aliasedTopic = this.#aliases.topic;
      return code;
    } catch (error) {
      if (error instanceof MqttError) return error.reasonCode;
      throw error;
    }
  }

  #onDisconnect(version: ProtocolVersion, packet: RawPacket): readonly SessionAction[] {
    const { reasonCode, properties } = decodeDisconnect(version, packet.buffer, packet.start, packet.end);
    checkDisconnect(this.#connect(), properties);
    if (reasonCode === reasonCodes.success) this.#will = undefined;
    this.#sessionExpirySeconds = properties.sessionExpirySeconds;
    return this.#close(undefined, reasonCode, "the client disconnected", true);
  }

  #connackRefusal(reasonCode: number, reason: string, serverReference?: string): Uint8Array | undefined {
    const { version } = this;
    const properties = { reasonString: reason, ...(serverReference !== undefined && { serverReference }) };
    if (version === 5) {
      return this.#fitting(encodeConnack({ version, reasonCode, properties }), () =>
        encodeConnack({ version, reasonCode }),
      );
    }
    if (version === 4 && connackReturnCode(reasonCode) !== undefined) return encodeConnack({ version, reasonCode });
    return undefined;
  }

  // A reason is left out where it would not fit what the client takes (§3.2.2.3.9, §3.4.2.2.2, §3.14.2.2.3).
  #fitting(bytes: Uint8Array, plain: () => Uint8Array): Uint8Array {
    const connect = this.#state.name === "connecting" ? undefined : this.#state.connect;
    return bytes.length <= (connect?.properties.maximumPacketSize ?? Number.POSITIVE_INFINITY) ? bytes : plain();
  }

  #close(
    bytes: Uint8Array | undefined,
    reasonCode: number,
    reason: string,
    isFromClient = false,
  ): readonly SessionAction[] {
    const connect = this.#state.name === "connecting" ? undefined : this.#state.connect;
    this.#state = { name: "ended", connect };
    const close: SessionAction = { type: "close", reasonCode, reason, isFromClient };
    return bytes === undefined ? [close] : [{ type: "send", bytes }, close];
  }

  #connect(): ConnectRequest {
    if (this.#state.name === "connecting" || this.#state.connect === undefined) throw new Error("no CONNECT yet");
    return this.#state.connect;
  }

  #connectedVersion(): ProtocolVersion {
    if (this.#state.name !== "connected") throw new Error(`the session is ${this.#state.name}, not connected`);
    return this.#state.connect.version;
  }
}
