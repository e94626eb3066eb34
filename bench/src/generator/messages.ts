/** What the bench and its generator process say to each other. */

export interface GeneratorOptions {
  readonly port: number;
  readonly connections: number;
  /** At QoS 0 a PINGREQ follows each batch, and its PINGRESP says that the server has taken what was before it. */
  readonly qos: 0 | 1;
  /** Messages without PUBACK or PINGRESP, per connection; 1 to 100. */
  readonly window: number;
  readonly payloadBytes: number;
  /** Every connection subscribes to the commands of its device and measures from publish to command. */
  readonly commands: boolean;
  /** Devices acknowledge their commands, each with a message of its own. */
  readonly answer: boolean;
  /** One message in so many asks for a command; 0: none. */
  readonly askEvery: number;
}

/**
 * - `closed`: every connection keeps its window full.
 * - `paced`: `rate` messages a second over all connections whatever the answers, each connection in bursts of `burst`.
 * - `idle`: nothing more is sent.
 */
export type Load =
  | { readonly kind: "closed" }
  | { readonly kind: "paced"; readonly rate: number; readonly burst: number }
  | { readonly kind: "idle" };

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** Counters since the connections were made, latencies since the last sample that reset them. */
export interface Sample {
  /** The generator's own monotonic clock. */
  readonly nowMs: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly inFlight: number;
  /** Messages that asked for a command, commands that came for the first time, and those that came again. */
  readonly asked: number;
  readonly commands: number;
  readonly repeatedCommands: number;
  readonly ackLatencyMs: Percentiles;
  readonly roundTripMs: Percentiles;
  /** CPU seconds of the generator process since its start. */
  readonly cpuSeconds: number;
  readonly openConnections: number;
}

/** The ids of one connection that were acknowledged: all below `before`, and these few above it. */
export interface AcknowledgedIds {
  readonly before: number;
  readonly others: readonly number[];
}

export type Request =
  | { readonly type: "connect"; readonly options: GeneratorOptions }
  | { readonly type: "load"; readonly load: Load }
  | { readonly type: "sample"; readonly resetLatency: boolean }
  | { readonly type: "acknowledged" };

export type Answer =
  | { readonly type: "done" }
  | { readonly type: "sample"; readonly sample: Sample }
  | { readonly type: "acknowledged"; readonly connections: readonly AcknowledgedIds[] };
