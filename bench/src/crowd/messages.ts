/** What the bench and its crowd process say to each other. */
import type { Percentiles } from "../generator/messages.ts";

export interface CrowdOptions {
  readonly port: number;
  readonly connections: number;
  /** Handshakes at once. */
  readonly atOnce: number;
  /** A PINGREQ comes so often from each; 0: never. */
  readonly keepAliveSeconds: number;
  /**
   * - `stay`: connects once and stays, with pings.
   * - `churn`: each connection says DISCONNECT after its CONNACK, and the next one begins when it is closed; `connections` does not matter.
   */
  readonly kind: "stay" | "churn";
}

/** Counters since the start, latencies since the last sample that reset them. */
export interface CrowdSample {
  readonly nowMs: number;
  /** CONNACKs. */
  readonly acknowledged: number;
  readonly open: number;
  /** From the start of the TCP connection to CONNACK. */
  readonly ackLatencyMs: Percentiles;
  readonly cpuSeconds: number;
}

export type CrowdRequest =
  | { readonly type: "connect"; readonly options: CrowdOptions }
  | { readonly type: "sample"; readonly resetLatency: boolean };

export type CrowdAnswer = { readonly type: "done" } | { readonly type: "sample"; readonly sample: CrowdSample };
