/** Runs a fleet: one timer for all devices, snapshots while it runs, a drain at the end. */
import { Counters, type FleetSnapshot } from "./counters.ts";
import { Device, type RunContext } from "./device.ts";
import { nextEpoch } from "./epoch.ts";
import { defineFleet, deviceIds, type Fleet } from "./fleet.ts";
import type { LatencyHistogram } from "./histogram.ts";

/** Options of {@link startFleet} and {@link runFleet}. */
export interface RunOptions {
  /** Default `127.0.0.1`. */
  readonly host?: string;
  readonly port: number;
  /** Default `"headrace"`. The same seed gives the same payloads. */
  readonly seed?: string;
  /** Messages of one device that may wait for their acknowledgement, 1 to 1,000; default 20. */
  readonly maxInflight?: number;
  /** Whether messages carry `hr-epoch` and `hr-seq`; default true. */
  readonly sequences?: boolean;
  /** The epoch; it has to be higher at each start against the same server. Default: from `stateFile`, else the time. */
  readonly epoch?: number;
  /** File that keeps the epoch from start to start. */
  readonly stateFile?: string;
  readonly credentials?: (deviceId: string) => { readonly username: string; readonly password: string };
  /** Called before a message is written for the first time. */
  readonly onSent?: (deviceId: string, epoch: number, sequence: number) => void;
  /** Called when the server has acknowledged a message. */
  readonly onAcknowledged?: (deviceId: string, epoch: number, sequence: number) => void;
  readonly onSnapshot?: (snapshot: FleetSnapshot) => void;
  /** Default 1,000. */
  readonly snapshotIntervalMs?: number;
  /** How long the end waits for acknowledgements; default 4,000. */
  readonly drainMs?: number;
  /** Ends the run: devices make no more messages, wait for their acknowledgements, and disconnect. */
  readonly signal?: AbortSignal;
}

/** A fleet that runs. */
export interface RunningFleet extends AsyncDisposable {
  readonly epoch: number | undefined;
  /** From the last sending of a message to its acknowledgement, since the start. */
  readonly ackLatency: LatencyHistogram;
  /** The counters now. */
  snapshot(): FleetSnapshot;
  /** Ends the run and gives the last counters; the same as aborting the signal. */
  stop(): Promise<FleetSnapshot>;
  /** Settles when the run has ended. */
  readonly done: Promise<FleetSnapshot>;
}

/** Half of a round trip on loopback is shorter, but a shorter tick only makes smaller writes. */
const tickMs = 4;
/** After DISCONNECT a server has this long to close. */
const closeMs = 500;

/**
 * Starts a fleet over MQTT 5. Devices reconnect for as long as it runs, and send again what was not acknowledged, with
 * DUP and the same sequence, before anything newer.
 *
 * @throws RangeError for options out of range; Error when `stateFile` cannot be used
 */
export function startFleet<Model>(fleet: Fleet<Model>, options: RunOptions): RunningFleet {
  defineFleet(fleet);
  const { maxInflight = 20, sequences = true, drainMs = 4000, snapshotIntervalMs = 1000, signal } = options;
  if (!Number.isInteger(maxInflight) || maxInflight < 1 || maxInflight > 1000) {
    throw new RangeError(`maxInflight ${maxInflight}: 1 to 1,000`);
  }
  const epoch = sequences ? epochOf(options) : undefined;
  const { credentials, onSent, onAcknowledged, onSnapshot } = options;
  const counters = new Counters();
  const run: RunContext<Model> = {
    fleet,
    host: options.host ?? "127.0.0.1",
    port: options.port,
    seed: options.seed ?? "headrace",
    maxInflight,
    epoch,
    counters,
    ...(credentials && { credentials }),
    ...(onSent && { onSent }),
    ...(onAcknowledged && { onAcknowledged }),
    connecting: 0,
  };
  const devices = deviceIds(fleet).map((id, number) => new Device(run, id, number));
  const startMs = performance.now();
  const inflight = () => devices.reduce((total, device) => total + device.inflight, 0);
  const snapshot = () => counters.snapshot(devices.length, inflight(), performance.now() - startMs);

  const done = Promise.withResolvers<FleetSnapshot>();
  let phase: "running" | "draining" | "closing" | "breaking" = "running";
  let phaseEndMs = Number.POSITIVE_INFINITY;
  let nextSnapshotMs = startMs + snapshotIntervalMs;

  const close = (nowMs: number, abruptly: boolean) => {
    phase = abruptly ? "breaking" : "closing";
    phaseEndMs = nowMs + closeMs;
    for (const device of devices) device.stop(nowMs, abruptly);
  };
  const stop = () => {
    if (phase === "running") {
      phase = "draining";
      phaseEndMs = performance.now() + drainMs;
      for (const device of devices) device.drain();
    }
    return done.promise;
  };
  const finish = () => {
    clearInterval(timer);
    signal?.removeEventListener("abort", stop);
    done.resolve(snapshot());
  };
  const tick = () => {
    const nowMs = performance.now();
    if (phase === "running" || phase === "draining") {
      for (const device of devices) if (nowMs >= device.wakeMs) device.tick(nowMs);
    }
    if (onSnapshot && nowMs >= nextSnapshotMs) {
      nextSnapshotMs = Math.max(nextSnapshotMs + snapshotIntervalMs, nowMs);
      onSnapshot(snapshot());
    }
    if (phase === "draining" && (nowMs >= phaseEndMs || inflight() === 0)) close(nowMs, false);
    else if (phase === "closing" && nowMs >= phaseEndMs) close(nowMs, true);
    if (
      (phase === "closing" || phase === "breaking") &&
      (devices.every(({ stopped }) => stopped) || nowMs > phaseEndMs)
    ) {
      finish();
    }
  };
  const timer = setInterval(tick, tickMs);
  if (signal?.aborted) void stop();
  else signal?.addEventListener("abort", stop, { once: true });

  return {
    epoch,
    ackLatency: counters.ackLatency,
    snapshot,
    stop,
    done: done.promise,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}

/**
 * Runs a fleet until its signal is aborted and everything in flight is acknowledged (or `drainMs` has passed).
 *
 * @returns the last counters; `inflight` above 0 says how many messages were left without acknowledgement
 */
export const runFleet = <Model>(
  fleet: Fleet<Model>,
  options: RunOptions & { readonly signal: AbortSignal },
): Promise<FleetSnapshot> => startFleet(fleet, options).done;

function epochOf({ epoch, stateFile }: RunOptions): number {
  if (epoch !== undefined) return epoch;
  return stateFile === undefined ? Date.now() : nextEpoch(stateFile);
}
