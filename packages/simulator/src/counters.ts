/** What a fleet counts while it runs. */
import { LatencyHistogram } from "./histogram.ts";

/** Counters of a fleet since its start. */
export interface FleetSnapshot {
  readonly devices: number;
  /** Devices whose connection the server accepted. */
  readonly connected: number;
  /** Messages sent for the first time; repeats do not count. */
  readonly sent: number;
  /** Messages that the server acknowledged. */
  readonly acknowledged: number;
  /** Messages that wait for their acknowledgement. */
  readonly inflight: number;
  /** Messages that were due but not made, because the device's window was full. */
  readonly skipped: number;
  /** Messages sent again after a reconnect. */
  readonly repeated: number;
  /** Messages that the server refused with a reason code. */
  readonly refused: number;
  /** Connections that the server refused with a reason code. */
  readonly connectionsRefused: number;
  /** Connections accepted after the first one of each device. */
  readonly reconnects: number;
  readonly commandsReceived: number;
  /** Commands whose acknowledgement the server has. */
  readonly commandsAcknowledged: number;
  /** From the last sending of a message to its acknowledgement. */
  readonly ackLatencyMs: { readonly p50: number; readonly p99: number; readonly maximum: number };
  readonly elapsedMs: number;
  /** Why the last connection failed or the last message was refused; absent when all is well so far. */
  readonly lastError?: string;
}

export class Counters {
  connected = 0;
  sent = 0;
  acknowledged = 0;
  skipped = 0;
  repeated = 0;
  refused = 0;
  connectionsRefused = 0;
  reconnects = 0;
  commandsReceived = 0;
  commandsAcknowledged = 0;
  lastError: string | undefined = undefined;
  readonly ackLatency = new LatencyHistogram();

  snapshot(devices: number, inflight: number, elapsedMs: number): FleetSnapshot {
    const { ackLatency, lastError, ...counts } = this;
    return {
      devices,
      ...counts,
      inflight,
      ackLatencyMs: { p50: ackLatency.percentile(50), p99: ackLatency.percentile(99), maximum: ackLatency.maximumMs },
      elapsedMs,
      ...(lastError !== undefined && { lastError }),
    };
  }
}
