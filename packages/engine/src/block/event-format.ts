/**
 * The event envelope, version 1. An events block has a RECORDS section (records back to back) and a STRINGS section
 * (u32 count, then u16 length + UTF-8 each): topic, key and client id stand there once per block, so each block decodes alone.
 *
 * Record, little endian, a multiple of 8 bytes:
 *
 *   0 u32 record bytes       8 u16 key string         16 u32 payload bytes
 *   4 u8  flags             10 u16 client string      20 u32 properties bytes
 *   5 u8  0                 12 u32 arrival, ms after the block's earliest
 *   6 u16 topic string      [24 u32 device epoch, u32 0, u64 device sequence: only with the flag]
 *   payload, properties (u8 type, u8 length bits 16-23, u16 length bits 0-15, content each), zeros
 */
export const eventSection = { records: 1, strings: 2 } as const;

export const recordHeaderBytes = 24;
export const deviceSequenceBytes = 16;

/** Bits of the record's flags. The lowest two are the QoS. */
export const recordFlag = {
  qosMask: 0b11,
  retain: 1 << 2,
  duplicate: 1 << 3,
  /** A repeat that was recognised by the device's sequence: readers pass over it. */
  repeated: 1 << 4,
  deviceSequence: 1 << 5,
} as const;

/** Types of the envelope's properties. Unknown types are kept and passed over. */
export const propertyType = {
  messageExpirySeconds: 1,
  contentType: 2,
  responseTopic: 3,
  correlationData: 4,
  userProperty: 5,
  deviceTimeMs: 6,
  cause: 7,
  payloadFormat: 8,
} as const;

/** What an event carries beside topic, key, client and payload. */
export interface EventProperties {
  messageExpirySeconds?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Uint8Array;
  userProperties?: [string, string][];
  deviceTimeMs?: number;
  /** Where a derived event came from: `task/partition/sequence/index`. */
  cause?: string;
  payloadFormat?: number;
}
