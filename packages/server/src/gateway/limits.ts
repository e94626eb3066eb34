/** Bounds of one gateway. Every queue in it has one. */
export interface GatewayLimits {
  /** Bytes accepted and not yet durable; beyond it sockets are not read and HTTP is refused. Default 8 MiB. */
  readonly waitingBytesMax: number;
  /**
   * Longest wait of a group of input for company while messages come in close succession; a group with 32 messages, or one that every
   * sender waits for, does not wait. Default 1 ms; 0 never waits. More saves syncs at low rates and costs latency.
   */
  readonly lingerMs: number;
  /** Open connections of all gateway threads. Default 10,000, less when the process may not open that many files. */
  readonly connectionsMax: number;
  /** Connections of one address (of version 6: of its first 64 bits) to one gateway thread that have not shown who they are. Default 1,000. */
  readonly unauthenticatedPerAddressMax: number;
  /** CONNECTs of a gateway thread in a second, over time; one waits for its turn for 2 s at most and is refused beyond. Default 2,000. */
  readonly connectsPerSecondMax: number;
  /** Connects of one client in {@link flappingWindowMs}; one more, and it is held off. Default 30. */
  readonly flappingConnectsMax: number;
  /** Default 60,000 ms. */
  readonly flappingWindowMs: number;
  /** How long a client is held off. Default 60,000 ms. */
  readonly flappingHoldOffMs: number;
  /** How long the gateway may have no room for messages before it refuses connections as well. Default 10,000 ms. */
  readonly overloadedAfterMs: number;
  /** Largest MQTT packet in bytes. Default 262,144. */
  readonly packetBytesMax: number;
  /** QoS 1 messages of one client without PUBACK. Default 1,000. */
  readonly receiveMaximum: number;
  /** From the accept of a connection to its CONNACK, without the time that the node itself takes. Default 5,000 ms. */
  readonly connectDeadlineMs: number;
  /** The longest keep alive; a 5.0 client that asks for more or none is told this one. Default 3,600 s. */
  readonly keepAliveMaxSeconds: number;
  /** A 3.1.1 client cannot be told: it may be silent for this long when its keep alive is off or longer. Default 86,400 s. */
  readonly idleMaxSeconds: number;
  /** How long a client may leave {@link subscriberBytesMax} of answers untaken; it is not read meanwhile. Default 120,000 ms. */
  readonly stalledMaxMs: number;
  /** Bytes written to one subscriber that its socket has not taken; then QoS 0 is dropped and QoS 1 waits. Default 1 MiB. */
  readonly subscriberBytesMax: number;
  /** Bytes of QoS 1 and 2 messages that are in flight to one client; then messages wait. Default 4 MiB. */
  readonly inFlightToClientBytesMax: number;
  /** Bytes of one client that are accepted and not yet durable; then it is not read. Default 2 MiB. */
  readonly inFlightFromClientBytesMax: number;
  /**
   * Bytes that all connected clients of a gateway thread together have not taken: in sockets, in flight, in queues. Above it
   * each client keeps 64 KiB of each. Default 256 MiB.
   */
  readonly outgoingBytesMax: number;
  /** Bytes that are read of one client in a second, over time; then it is not read for a while. Default 16 MiB. */
  readonly clientBytesPerSecondMax: number;
  /** Retained messages. Default 100,000. */
  readonly retainedMessagesMax: number;
  /** Bytes of retained messages with their topics. Default 64 MiB. */
  readonly retainedBytesMax: number;
  /** Retained messages of one client. Default 20,000. */
  readonly retainedPerClientMax: number;
  /** Default 16 MiB. */
  readonly retainedBytesPerClientMax: number;
  /** Subscriptions of one session. Default 1,000. */
  readonly subscriptionsMax: number;
  /** Subscriptions of all sessions of a gateway thread. Default 1,000,000. */
  readonly subscriptionsTotalMax: number;
  /** Levels of the different shapes of one session's filters with `+` (names do not count). Default 128. */
  readonly shapeLevelsMax: number;
  /** Nodes that a topic may visit to find its subscribers: a subscription that would make it more is refused. Default 4,096. */
  readonly matchCostMax: number;
  /** Sessions that outlive their connections; one more is refused with 0x97. Default 100,000. */
  readonly sessionsMax: number;
  /** The longest that a session is kept without a connection; also that of 3.1.1, which has no expiry. Default 7 days. */
  readonly sessionExpiryMaxSeconds: number;
  /** Messages that wait for the client of such a session. Default 1,000. */
  readonly sessionQueueMessagesMax: number;
  /** Bytes of messages that wait for the client of such a session. Default 1 MiB. */
  readonly sessionQueueBytesMax: number;
  /** The longest that a message waits for its client. Default 1 day, the age to which unclaimed messages are kept. */
  readonly sessionQueueAgeMaxSeconds: number;
  /** Connections and ends of a gateway thread that the stream `connections` takes in a second; more are counted. Default 1,000. */
  readonly connectionEventsPerSecondMax: number;
  /** Idempotency keys that are remembered. Default 10,000. */
  readonly idempotencyKeysMax: number;
  /** Devices of one stream whose sequences are remembered; a further one is refused. Default 1,000,000. */
  readonly sequencedDevicesMax: number;
}

export const defaultLimits: GatewayLimits = {
  waitingBytesMax: 8 * 1024 * 1024,
  lingerMs: 1,
  connectionsMax: 10_000,
  unauthenticatedPerAddressMax: 1_000,
  connectsPerSecondMax: 2_000,
  flappingConnectsMax: 30,
  flappingWindowMs: 60_000,
  flappingHoldOffMs: 60_000,
  overloadedAfterMs: 10_000,
  packetBytesMax: 262_144,
  receiveMaximum: 1_000,
  connectDeadlineMs: 5_000,
  keepAliveMaxSeconds: 3_600,
  idleMaxSeconds: 86_400,
  stalledMaxMs: 120_000,
  subscriberBytesMax: 1024 * 1024,
  inFlightToClientBytesMax: 4 * 1024 * 1024,
  inFlightFromClientBytesMax: 2 * 1024 * 1024,
  outgoingBytesMax: 256 * 1024 * 1024,
  clientBytesPerSecondMax: 16 * 1024 * 1024,
  retainedMessagesMax: 100_000,
  retainedBytesMax: 64 * 1024 * 1024,
  retainedPerClientMax: 20_000,
  retainedBytesPerClientMax: 16 * 1024 * 1024,
  subscriptionsMax: 1_000,
  subscriptionsTotalMax: 1_000_000,
  shapeLevelsMax: 128,
  matchCostMax: 4_096,
  sessionsMax: 100_000,
  sessionExpiryMaxSeconds: 7 * 86_400,
  sessionQueueMessagesMax: 1_000,
  sessionQueueBytesMax: 1024 * 1024,
  sessionQueueAgeMaxSeconds: 86_400,
  connectionEventsPerSecondMax: 1_000,
  idempotencyKeysMax: 10_000,
  sequencedDevicesMax: 1_000_000,
};
