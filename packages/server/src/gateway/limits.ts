/** Bounds of one gateway. Every queue in it has one. */
export interface GatewayLimits {
  /** Bytes accepted and not yet durable; beyond it sockets are not read and HTTP is refused. Default 8 MiB. */
  readonly waitingBytesMax: number;
  /**
   * Longest wait of a group of input for company while messages come in close succession; a group with 32 messages, or one that every
   * sender waits for, does not wait. Default 1 ms; 0 never waits. More saves syncs at low rates and costs latency.
   */
  readonly lingerMs: number;
  /** Open connections. Default 10,000, less when the process may not open that many files. */
  readonly connectionsMax: number;
  /** Largest MQTT packet in bytes. Default 262,144. */
  readonly packetBytesMax: number;
  /** QoS 1 messages of one client without PUBACK. Default 1,000. */
  readonly receiveMaximum: number;
  /** From the connection to its CONNECT. Default 5,000 ms. */
  readonly connectDeadlineMs: number;
  /** Bytes written to one subscriber that its socket has not taken; then QoS 0 is dropped and QoS 1 waits. Default 1 MiB. */
  readonly subscriberBytesMax: number;
  /** Retained messages. Default 100,000. */
  readonly retainedMessagesMax: number;
  /** Bytes of retained messages with their topics. Default 64 MiB. */
  readonly retainedBytesMax: number;
  /** Idempotency keys that are remembered. Default 10,000. */
  readonly idempotencyKeysMax: number;
  /** Devices of one stream whose sequences are remembered; a further one is refused. Default 1,000,000. */
  readonly sequencedDevicesMax: number;
}

export const defaultLimits: GatewayLimits = {
  waitingBytesMax: 8 * 1024 * 1024,
  lingerMs: 1,
  connectionsMax: 10_000,
  packetBytesMax: 262_144,
  receiveMaximum: 1_000,
  connectDeadlineMs: 5_000,
  subscriberBytesMax: 1024 * 1024,
  retainedMessagesMax: 100_000,
  retainedBytesMax: 64 * 1024 * 1024,
  idempotencyKeysMax: 10_000,
  sequencedDevicesMax: 1_000_000,
};
