/**
 * Reason codes of MQTT 5.0 §2.4, by the names the specification gives them.
 * MQTT 3.1.1 has no reason codes beyond CONNACK and SUBACK; see {@link connackReturnCode}.
 */
export const reasonCodes = {
  success: 0x00,
  grantedQos1: 0x01,
  grantedQos2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const;

/**
 * What an {@link MqttError} ends: the connection (the peer broke the protocol, §4.13) or only the one
 * message, which MQTT 5.0 may answer with a PUBACK that carries the reason code.
 */
export type MqttErrorScope = "connection" | "message";

/** The only error that this package throws for bytes from the network. */
export class MqttError extends Error {
  /** Reason code of MQTT 5.0 §2.4, 0x80 or above. */
  readonly reasonCode: number;
  readonly scope: MqttErrorScope;

  constructor(reasonCode: number, message: string, scope: MqttErrorScope = "connection") {
    super(message);
    this.name = "MqttError";
    this.reasonCode = reasonCode;
    this.scope = scope;
  }
}

/** An error for bytes that do not follow the grammar: reason code 0x81, MQTT 5.0 §1.2 "Malformed Packet". */
export function malformed(message: string): MqttError {
  return new MqttError(reasonCodes.malformedPacket, message);
}

/** An error for bytes that follow the grammar but not the rules: reason code 0x82, MQTT 5.0 §1.2 "Protocol Error". */
export function protocolError(message: string): MqttError {
  return new MqttError(reasonCodes.protocolError, message);
}
