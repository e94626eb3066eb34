/** What the bench and its traffic process say to each other. */
import type { Percentiles } from "../generator/messages.ts";

/**
 * - `fan-in`: every publisher has a topic of its own, one subscriber takes all of them.
 * - `fan-out`: one publisher, whose topic every subscriber takes.
 * - `pairs`: as many subscribers as publishers, each takes the topic of one.
 */
export type Shape = "fan-in" | "fan-out" | "pairs";

export interface TrafficOptions {
  readonly port: number;
  readonly shape: Shape;
  readonly qos: 0 | 1;
  readonly publishers: number;
  readonly subscribers: number;
  /** Messages of one publisher that are not delivered to all its subscribers, or not acknowledged. */
  readonly window: number;
  readonly payloadBytes: number;
}

/** Counters since the connections were made, latencies since the last sample that reset them. */
export interface TrafficSample {
  readonly nowMs: number;
  /** Messages that arrived at subscribers, each number once per subscriber. */
  readonly acknowledged: number;
  readonly sent: number;
  /** Arrivals that are due for what was sent and have not come, and arrivals of numbers that had come before. */
  readonly missing: number;
  readonly repeated: number;
  /** From the write of a PUBLISH to its arrival at one subscriber. */
  readonly ackLatencyMs: Percentiles;
  readonly cpuSeconds: number;
}

export type TrafficRequest =
  | { readonly type: "connect"; readonly options: TrafficOptions }
  | { readonly type: "load"; readonly isOn: boolean }
  | { readonly type: "sample"; readonly resetLatency: boolean };

export type TrafficAnswer = { readonly type: "done" } | { readonly type: "sample"; readonly sample: TrafficSample };
