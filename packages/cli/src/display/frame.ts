/** What `start` shows, as data: one frame a second from the node's status and the fleet's counters. */
import type { NodeStatus } from "@headrace/server";
import type { FleetSnapshot } from "@headrace/simulator";

export interface Frame {
  readonly elapsedSeconds: number;
  /** Stored in the last interval. */
  readonly messagesPerSecond: number;
  readonly stored: number;
  /** From the fleet; absent without one. */
  readonly ackLatencyMs?: { readonly p50: number; readonly p99: number };
  readonly devices: number;
  readonly functionRuns: number;
  readonly functionRunsPerSecond: number;
  /** Of the task that is furthest behind. */
  readonly lagEvents: number;
  readonly lagMs: number;
  readonly rows: number;
  readonly rejected: number;
  readonly refused: number;
  readonly failed: number;
  readonly alerts: { readonly raised: number; readonly cleared: number; readonly active: number };
  readonly commands: { readonly sent: number; readonly acknowledged: number };
}

/** The last line of a run with `--duration`. */
export interface Summary {
  readonly sent: number;
  readonly acknowledged: number;
  readonly stored: number;
  readonly processed: number;
  /** Raised. */
  readonly alerts: number;
  readonly commands: { readonly sent: number; readonly acknowledged: number };
  readonly rows: number;
  readonly ackLatencyMs: { readonly p50: number; readonly p99: number } | null;
  /** From the start of the process; null when none was raised. */
  readonly firstAlertSeconds: number | null;
}

const runsOf = ({ tasks }: NodeStatus): number => tasks.reduce((total, { processed }) => total + processed, 0);
const rounded = (value: number): number => Math.round(value * 100) / 100;

/** Makes frames; rates are since the frame before. */
export class Frames {
  readonly #startMs: number;
  #before: { atMs: number; stored: number; runs: number } | undefined;

  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  next(status: NodeStatus, fleet: FleetSnapshot | undefined, nowMs: number): Frame {
    const now = { atMs: nowMs, stored: status.stored, runs: runsOf(status) };
    const before = this.#before ?? { atMs: this.#startMs, stored: 0, runs: 0 };
    this.#before = now;
    const seconds = Math.max(0.001, (nowMs - before.atMs) / 1000);
    const { raised, cleared, active } = status.alerts;
    return {
      elapsedSeconds: rounded((nowMs - this.#startMs) / 1000),
      messagesPerSecond: Math.round((now.stored - before.stored) / seconds),
      stored: status.stored,
      ...(fleet && { ackLatencyMs: { p50: rounded(fleet.ackLatencyMs.p50), p99: rounded(fleet.ackLatencyMs.p99) } }),
      devices: status.connections,
      functionRuns: now.runs,
      functionRunsPerSecond: Math.round((now.runs - before.runs) / seconds),
      lagEvents: Math.max(0, ...status.tasks.map(({ lagEvents }) => lagEvents)),
      lagMs: Math.round(Math.max(0, ...status.tasks.map(({ lagMs }) => lagMs))),
      rows: status.lake.rows,
      rejected: status.rejected,
      refused: status.refused,
      failed: status.tasks.reduce((total, { failed }) => total + failed, 0),
      alerts: { raised, cleared, active },
      commands: { sent: status.commands.sent, acknowledged: status.commands.acknowledged },
    };
  }
}

/** The summary of a run that has drained. */
export function summaryOf(
  status: NodeStatus,
  fleet: FleetSnapshot | undefined,
  firstAlertSeconds: number | null,
): Summary {
  const { p50, p99 } = fleet?.ackLatencyMs ?? { p50: 0, p99: 0 };
  return {
    sent: fleet?.sent ?? 0,
    acknowledged: fleet?.acknowledged ?? 0,
    stored: status.stored,
    processed: status.processed,
    alerts: status.alerts.raised,
    commands: { sent: status.commands.sent, acknowledged: status.commands.acknowledged },
    rows: status.lake.rows,
    ackLatencyMs: fleet ? { p50: rounded(p50), p99: rounded(p99) } : null,
    firstAlertSeconds: firstAlertSeconds === null ? null : rounded(firstAlertSeconds),
  };
}
