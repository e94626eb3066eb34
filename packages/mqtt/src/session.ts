import { decodeAcknowledgement, encodeAcknowledgement, shortPuback } from "./acknowledgement.ts";
import { connackReturnCode, encodeConnack } from "./connack.ts";
import { type ConnectPacket, decodeConnect, peekConnectProtocol, type Will } from "./connect.ts";
import { decodeDisconnect, encodeDisconnect, encodePingresp } from "./disconnect.ts";
import { MqttError, malformed, protocolError, reasonCodes } from "./errors.ts";
import { Outbox } from "./outbox.ts";
import { type ProtocolVersion, packetTypes, type RawPacket } from "./packet.ts";
import { decodePublishProperties, type Properties, type PublishProperties } from "./properties.ts";
import type { PublishView } from "./publish-view.ts";
import type { ConnectRequest, SessionAction, SessionOptions, SubscribeAction } from "./session-actions.ts";
import { decodeSubscribe, decodeUnsubscribe, encodeSuback, encodeUnsuback } from "./subscribe.ts";
import { type GrantedSubscription, type Subscription, SubscriptionList } from "./subscriptions.ts";
import { validateTopic } from "./topic.ts";

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
 * Clean sessions only: every session begins empty and ends with its connection. QoS 2 is refused (0x9B), topic aliases
 * are not offered (0x94), shared subscriptions are not offered (0x9E).
 *
 * @typeParam M what the edge keeps of an outgoing message while it waits or is in flight
 */
export class ServerSession<M = unknown> {
  readonly subscriptions: SubscriptionList;
  /** Properties of the PUBLISH last given to `onPublish`; an empty object when it had none. */
  publishProperties: PublishProperties = noProperties;
  readonly #options: SessionOptions;
  readonly #receiveMaximum: number;
  #state: State = { name: "connecting", version: 0 };
  #outbox: Outbox<M> | undefined;
  #unacknowledged = 0;
  #will: Will | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#receiveMaximum = options.receiveMaximum ?? 1_000;
    this.subscriptions = new SubscriptionList(options);
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

  /** Messages to the client. Throws Error before `accept`. */
  get outbox(): Outbox<M> {
    if (this.#outbox === undefined) throw new Error("the session is not connected");
    return this.#outbox;
  }

  /** QoS 1 messages of the client whose PUBACK is due. */
  get unacknowledgedCount(): number {
    return this.#unacknowledged;
  }

  /** Whether the client uses up its window: a 3.1.1 client knows no window, so stop reading its socket then. */
  get isWindowFull(): boolean {
    return this.#unacknowledged >= this.#receiveMaximum;
  }

  /**
   * For how long the client may be silent, in milliseconds: one and a half times the keep alive in force
   * (MQTT 5.0 §3.1.2.10). Before `accept` it is Infinity: the edge has its own deadline for CONNECT.
   */
  get silenceMaxMs(): number {
    if (this.#state.name !== "connected") return Number.POSITIVE_INFINITY;
    const { version, keepAliveSeconds } = this.#state.connect;
    if (version === 5) return this.#keepAliveSeconds(keepAliveSeconds) * 1_500;
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
      if (view.qos === 2) return reasonCodes.qosNotSupported;
      // §3.3.4: the window binds version 5 clients only; a 3.1.1 client is slowed down by its socket.
      if (this.#unacknowledged >= this.#receiveMaximum && this.#state.connect.version === 5) {
        return reasonCodes.receiveMaximumExceeded;
      }
      this.#unacknowledged += 1;
    }
    if (view.propertiesEnd === view.propertiesStart) {
      this.publishProperties = noProperties;
      // §3.3.2.1: without an alias the topic must not be empty.
      return view.topicStart === view.topicEnd ? reasonCodes.topicNameInvalid : 0;
    }
    return this.#onPublishProperties(view);
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
    return this.outbox.release(packetId);
  }

  /** Takes any packet but PUBLISH. Errors of the client become actions that end the session. */
  onPacket(packet: RawPacket): readonly SessionAction[] {
    if (this.#state.name === "ended") return noActions;
    if (this.#state.name === "authenticating") throw new Error("a packet was scanned before accept() or refuse()");
    try {
      return this.#dispatch(packet);
    } catch (error) {
      if (error instanceof MqttError) return this.fail(error);
      throw error;
    }
  }

  /** The client may connect: CONNACK with what this server offers (§3.2.2.3), then `connected`. */
  accept(): readonly SessionAction[] {
    if (this.#state.name !== "authenticating") throw new Error(`accept() while ${this.#state.name}`);
    const { connect } = this.#state;
    this.#state = { name: "connected", connect };
    this.#will = connect.will;
    this.#outbox = new Outbox({
      receiveMaximum: connect.properties.receiveMaximum ?? 65_535,
      maximumPacketSize: connect.properties.maximumPacketSize ?? Number.POSITIVE_INFINITY,
      queueMessagesMax: this.#options.queueMessagesMax ?? 1_000,
      queueBytesMax: this.#options.queueBytesMax ?? 1_048_576,
    });
    const { version, clientId } = connect;
    const properties = this.#offer(connect);
    const bytes = encodeConnack({ version, reasonCode: reasonCodes.success, properties });
    return [
      { type: "send", bytes },
      { type: "connected", clientId, version },
    ];
  }

  /** The client may not connect: CONNACK with the code (translated for 3.1.1), then `close`. */
  refuse(reasonCode: number, reason = "refused"): readonly SessionAction[] {
    return this.#close(this.#connackRefusal(reasonCode, reason), reasonCode, reason);
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
   * Refuses one QoS 1 message that was not stored: PUBACK with the code in version 5 (§3.4.2.1). 3.1.1 cannot say so,
   * and silence would make the client wait for ever, so its connection is closed.
   */
  refusePublish(packetId: number, reasonCode: number, reason: string): readonly SessionAction[] {
    const version = this.#connectedVersion();
    if (version === 4) return this.fail(new MqttError(reasonCode, reason));
    this.acknowledged(1);
    const told = this.#connect().properties.requestProblemInformation !== false;
    const reasonString = told ? { reasonString: reason } : {};
    const type = packetTypes.puback;
    return [{ type: "send", bytes: encodeAcknowledgement({ version, type, packetId, reasonCode, ...reasonString }) }];
  }

  /** Ends the session because of an error: DISCONNECT or CONNACK with the code where the version has one (§4.13). */
  fail(error: MqttError): readonly SessionAction[] {
    if (this.#state.name === "ended") return noActions;
    if (this.#state.name !== "connected") return this.refuse(error.reasonCode, error.message);
    return this.disconnect(error.reasonCode, error.message);
  }

  /** Ends the session from our side: shutting down 0x8B, taken over 0x8E, administrative action 0x98. */
  disconnect(reasonCode: number, reason: string): readonly SessionAction[] {
    if (this.#state.name === "ended") return noActions;
    if (this.#state.name !== "connected") return this.refuse(reasonCode, reason);
    const bytes = this.#state.connect.version === 5 ? encodeDisconnect(5, reasonCode, reason) : undefined;
    return this.#close(bytes, reasonCode, reason);
  }

  /**
   * The connection is gone. Returns the will that is due now, once (§3.1.2.5: none after a regular DISCONNECT; a will
   * delay ends with the session, so at once), and the subscriptions that end.
   */
  end(): { readonly will: Will | undefined; readonly subscriptions: readonly Subscription[] } {
    const will = this.#will;
    this.#will = undefined;
    if (this.#state.name !== "ended") {
      const connect = this.#state.name === "connecting" ? undefined : this.#state.connect;
      this.#state = { name: "ended", connect };
    }
    return { will, subscriptions: this.subscriptions.clear() };
  }

  #dispatch(packet: RawPacket): readonly SessionAction[] {
    const { type, buffer, start, end } = packet;
    if (this.#state.name === "connecting") {
      if (type !== packetTypes.connect) throw protocolError("the first packet is not CONNECT (§3.1)");
      return this.#onConnect(buffer, start, end);
    }
    const version = this.#connectedVersion();
    switch (type) {
      case packetTypes.puback:
      case packetTypes.pubrec:
      case packetTypes.pubrel:
      case packetTypes.pubcomp:
        return this.#onAcknowledgement(version, packet);
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
        throw new MqttError(reasonCodes.badAuthenticationMethod, "extended authentication is not offered (§4.12)");
      case packetTypes.connect:
        throw protocolError("a second CONNECT (§3.1)");
      default:
        throw protocolError(`packet type ${type} does not come from a client`);
    }
  }

  #onConnect(buffer: Uint8Array, start: number, end: number): readonly SessionAction[] {
    const { name, level } = peekConnectProtocol(buffer, start, end);
    if ((name !== "MQTT" && name !== "MQIsdp") || (name === "MQTT" && level === 0)) {
      throw new MqttError(reasonCodes.unsupportedProtocolVersion, "CONNECT of another protocol (§3.1.2.1)");
    }
    // An unknown version is answered in the form it is likeliest to understand (§3.1.2.2).
    this.#state = { name: "connecting", version: name === "MQTT" && level >= 5 ? 5 : 4 };
    const connect = this.#checkConnect(decodeConnect(buffer, start, end));
    this.#state = { name: "authenticating", connect };
    return [{ type: "authenticate", connect }];
  }

  #checkConnect(connect: ConnectPacket): ConnectRequest {
    const { version, clientId, clean, will } = connect;
    if (connect.properties.authenticationMethod !== undefined) {
      throw new MqttError(reasonCodes.badAuthenticationMethod, "extended authentication is not offered (§4.12)");
    }
    if (clientId.length > (this.#options.clientIdLengthMax ?? 256)) {
      throw new MqttError(reasonCodes.clientIdentifierNotValid, "the client id is too long");
    }
    const assigned = clientId === "";
    // 3.1.1 §3.1.3.1 demands this refusal, 5.0 permits it: who wants a session back must have a name.
    if (assigned && !clean) {
      throw new MqttError(reasonCodes.clientIdentifierNotValid, "an empty client id needs a clean session");
    }
    if (will !== undefined) {
      validateTopic(will.topic, this.#options.topicLimits);
      if (will.qos === 2 && version === 5) {
        throw new MqttError(reasonCodes.qosNotSupported, "will QoS 2 is not supported (§3.2.2.3.4)");
      }
    }
    const accepted = assigned ? this.#options.generateClientId() : clientId;
    const lowered: { will?: Will } = will?.qos === 2 ? { will: { ...will, qos: 1 } } : {};
    return { ...connect, ...lowered, clientId: accepted, assigned };
  }

  #onPublishProperties(view: PublishView): number {
    try {
      const properties = decodePublishProperties(view.buffer, view.propertiesStart, view.propertiesEnd);
      if (properties.topicAlias !== undefined) return reasonCodes.topicAliasInvalid;
      // §3.3.4: only a server sends subscription identifiers.
      if (properties.subscriptionIdentifiers !== undefined) return reasonCodes.protocolError;
      this.publishProperties = properties;
      return view.topicStart === view.topicEnd ? reasonCodes.topicNameInvalid : 0;
    } catch (error) {
      if (error instanceof MqttError) return error.reasonCode;
      throw error;
    }
  }

  // No QoS 2 is ever in progress, so its packets are answered as for an unknown identifier (§4.3.3), and PUBREC or
  // PUBCOMP for a QoS 1 message in flight breaks the protocol.
  #onAcknowledgement(version: ProtocolVersion, packet: RawPacket): readonly SessionAction[] {
    const { type, buffer, start, end } = packet;
    const { packetId, reasonCode } = decodeAcknowledgement(version, type, buffer, start, end);
    if (type === packetTypes.puback) {
      if (!this.outbox.isInFlight(packetId)) return noActions;
      this.outbox.release(packetId);
      return [{ type: "acknowledged", packetId, reasonCode }];
    }
    if (type !== packetTypes.pubrel && this.outbox.isInFlight(packetId)) {
      throw protocolError(`packet identifier ${packetId} belongs to a QoS 1 message, which PUBACK ends (§4.3.2)`);
    }
    if (type === packetTypes.pubcomp || (type === packetTypes.pubrec && reasonCode >= 0x80)) return noActions;
    const answer = type === packetTypes.pubrec ? packetTypes.pubrel : packetTypes.pubcomp;
    const code = reasonCodes.packetIdentifierNotFound;
    return [{ type: "send", bytes: encodeAcknowledgement({ version, type: answer, packetId, reasonCode: code }) }];
  }

  #onDisconnect(version: ProtocolVersion, packet: RawPacket): readonly SessionAction[] {
    const { reasonCode, properties } = decodeDisconnect(version, packet.buffer, packet.start, packet.end);
    const asked = this.#connect().properties.sessionExpirySeconds ?? 0;
    if (asked === 0 && (properties.sessionExpirySeconds ?? 0) > 0) {
      throw protocolError("DISCONNECT sets a session expiry that CONNECT did not (§3.14.2.2.2)");
    }
    if (reasonCode === reasonCodes.success) this.#will = undefined;
    return this.#close(undefined, reasonCode, "the client disconnected");
  }

  #offer(connect: ConnectRequest): Properties {
    const keepAliveSeconds = this.#keepAliveSeconds(connect.keepAliveSeconds);
    return {
      sessionExpirySeconds: 0,
      receiveMaximum: this.#receiveMaximum,
      maximumQos: 1,
      retainAvailable: true,
      maximumPacketSize: this.#options.maximumPacketSize ?? 262_144,
      wildcardSubscriptionAvailable: true,
      subscriptionIdentifiersAvailable: true,
      sharedSubscriptionAvailable: false,
      ...(connect.assigned && { assignedClientIdentifier: connect.clientId }),
      ...(keepAliveSeconds !== connect.keepAliveSeconds && { serverKeepAliveSeconds: keepAliveSeconds }),
    };
  }

  #keepAliveSeconds(asked: number): number {
    const max = this.#options.keepAliveMaxSeconds ?? 3_600;
    return asked === 0 ? max : Math.min(asked, max);
  }

  #connackRefusal(reasonCode: number, reason: string): Uint8Array | undefined {
    const { version } = this;
    if (version === 5) return encodeConnack({ version, reasonCode, properties: { reasonString: reason } });
    if (version === 4 && connackReturnCode(reasonCode) !== undefined) return encodeConnack({ version, reasonCode });
    return undefined;
  }

  #close(bytes: Uint8Array | undefined, reasonCode: number, reason: string): readonly SessionAction[] {
    const connect = this.#state.name === "connecting" ? undefined : this.#state.connect;
    this.#state = { name: "ended", connect };
    const close: SessionAction = { type: "close", reasonCode, reason };
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
