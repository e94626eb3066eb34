/** Control packet types, MQTT 5.0 §2.1.2. */
export const packetTypes = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;

/** Protocol level as CONNECT carries it: 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type ProtocolVersion = 4 | 5;

/** Quality of service, MQTT 5.0 §4.3. */
export type Qos = 0 | 1 | 2;

/** The largest Remaining Length that four bytes can hold, MQTT 5.0 §2.1.4. */
export const remainingLengthMax = 268_435_455;

/** A packet whose body lies in `buffer` from `start` (after the fixed header) to `end`. */
export interface RawPacket {
  /** One of {@link packetTypes}. */
  readonly type: number;
  /** The low four bits of the first byte. */
  readonly flags: number;
  readonly buffer: Uint8Array;
  readonly start: number;
  readonly end: number;
}
