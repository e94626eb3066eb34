import type { ConnectPacket } from "./connect.ts";
import { MqttError, protocolError, reasonCodes } from "./errors.ts";
import type { OutboxOptions, OutboxWindow } from "./outbox.ts";
import type { Properties } from "./properties.ts";
import type { ConnectRequest, SessionOptions } from "./session-actions.ts";
import { validateTopic } from "./topic.ts";

/** Checks what a CONNECT asks for and gives it a client id if it has none. Throws MqttError 0x85, 0x8C, 0x90. */
export function checkConnect(connect: ConnectPacket, options: SessionOptions): ConnectRequest {
  const { clientId, clean, will, version } = connect;
  if (connect.properties.authenticationMethod !== undefined && options.extendedAuthentication !== true) {
    throw new MqttError(reasonCodes.badAuthenticationMethod, "extended authentication is not offered (§4.12)");
  }
  if (clientId.length > (options.clientIdLengthMax ?? 256)) {
    throw new MqttError(reasonCodes.clientIdentifierNotValid, "the client id is too long");
  }
  const assigned = clientId === "";
  // 3.1.1 §3.1.3.1 demands this refusal: who wants a session back must have a name. 5.0 is told the one it gets.
  if (assigned && !clean && version === 4) {
    throw new MqttError(reasonCodes.clientIdentifierNotValid, "an empty client id needs a clean session");
  }
  if (will !== undefined) validateTopic(will.topic, options.topicLimits);
  return { ...connect, clientId: assigned ? options.generateClientId() : clientId, assigned };
}

/** Throws MqttError 0x82 for a DISCONNECT that sets a session expiry that CONNECT did not (§3.14.2.2.2). */
export function checkDisconnect({ properties: asked }: ConnectRequest, { sessionExpirySeconds = 0 }: Properties): void {
  if ((asked.sessionExpirySeconds ?? 0) === 0 && sessionExpirySeconds > 0) {
    throw protocolError("DISCONNECT sets a session expiry that CONNECT did not (§3.14.2.2.2)");
  }
}

/** What CONNACK tells a version 5 client about this server, MQTT 5.0 §3.2.2.3. */
export function offerOf(connect: ConnectRequest, options: SessionOptions): Properties {
  const keepAliveSeconds = keepAliveInForce(connect.keepAliveSeconds, options);
  return {
    receiveMaximum: options.receiveMaximum ?? 1_000,
    retainAvailable: true,
    maximumPacketSize: options.maximumPacketSize ?? 262_144,
    wildcardSubscriptionAvailable: true,
    subscriptionIdentifiersAvailable: true,
    sharedSubscriptionAvailable: options.sharedSubscriptions ?? false,
    topicAliasMaximum: options.topicAliasMaximum ?? 32,
    ...(connect.assigned && { assignedClientIdentifier: connect.clientId }),
    ...(keepAliveSeconds !== connect.keepAliveSeconds && { serverKeepAliveSeconds: keepAliveSeconds }),
  };
}

/** What the client takes at once: its Receive Maximum and Maximum Packet Size (§3.1.2.11.3-4). */
export function windowOf({ properties }: ConnectRequest): OutboxWindow {
  const { receiveMaximum = 65_535, maximumPacketSize = Number.POSITIVE_INFINITY } = properties;
  return { receiveMaximum, maximumPacketSize };
}

/** The outbox of a session that ends with its connection. */
export function outboxOptions(window: OutboxWindow, options: SessionOptions): OutboxOptions {
  const { queueMessagesMax = 1_000, queueBytesMax = 1_048_576, inFlightBytesMax, outboxBudget: budget } = options;
  const rest = { ...(inFlightBytesMax !== undefined && { inFlightBytesMax }), ...(budget !== undefined && { budget }) };
  return { ...window, queueMessagesMax, queueBytesMax, ...rest };
}

/** The keep alive of a version 5 client that asked for this one, in seconds. */
export function keepAliveInForce(askedSeconds: number, options: SessionOptions): number {
  const maxSeconds = options.keepAliveMaxSeconds ?? 3_600;
  return askedSeconds === 0 ? maxSeconds : Math.min(askedSeconds, maxSeconds);
}
