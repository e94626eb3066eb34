/** Runs a node with or without a fleet until it is told to stop: what `start` and `dev` share. */
import { join } from "node:path";
import type { HeadraceNode, ListenerOptions, NodeStatus, startNode, TlsFiles } from "@headrace/server";
import type { Display } from "../display/display.ts";
import { Frames, type Summary, summaryOf } from "../display/frame.ts";
import { UsageError } from "../output/errors.ts";
import { safe } from "../output/text.ts";
import { fleetFile, type RunningFleet, startFleetThread } from "./fleet.ts";

export interface RunOptions {
  readonly app: string;
  readonly dataFolder: string;
  readonly host: string;
  readonly listeners: readonly ListenerOptions[];
  readonly tls?: TlsFiles;
  readonly httpPort: number;
  readonly gateways?: number;
  readonly connections?: number;
  readonly linger?: number;
  readonly fleet?: string | true;
  readonly devices?: number;
  readonly rate?: number;
  readonly seed?: string;
  /** Stops by itself, drained, with a summary. */
  readonly durationMs?: number;
  /** False: no frames, as in `dev`. */
  readonly frames: boolean;
}

export interface RunDependencies {
  readonly startNode: typeof startNode;
  readonly display: Display;
  /** Aborted by the first Ctrl-C. */
  readonly interrupted: AbortSignal;
  /** Called when everything runs. */
  readonly onStarted?: (node: HeadraceNode) => void;
}

const frameMs = 1000;
/** How long a run with a duration waits until everything stored is processed. */
const drainMs = 10_000;
/** Ctrl-C: fleet and node together stay under 5 s. */
const closeMs = 2_500;

const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });

const logLine = ({ level, message, function: name }: { level: string; message: string; function?: string }): string =>
  `${level.padEnd(5)} ${name === undefined ? "" : `${safe(name)}: `}${message.split("\n").map(safe).join("\n")}`;

const lagOf = ({ tasks }: NodeStatus): number => tasks.reduce((total, { lagEvents }) => total + lagEvents, 0);

/**
 * Waits until every function has processed everything stored; gives the last status. Nothing lags is asked twice: a
 * function's output may be on its way to the next one. `processed` need not reach `stored`: a stream may have no function.
 */
async function drained(node: HeadraceNode, signal: AbortSignal): Promise<NodeStatus> {
  const deadline = performance.now() + drainMs;
  let quiet = 0;
  for (let before = await node.status(); ; ) {
    if (signal.aborted || quiet === 2 || performance.now() > deadline) return before;
    await sleep(150, signal);
    const status = await node.status();
    const same = status.stored === before.stored && status.processed === before.processed;
    quiet = same && lagOf(status) === 0 ? quiet + 1 : 0;
    before = status;
  }
}

/** Where a simulated fleet connects. It is on this machine; an address that means "all" cannot be called. */
function fleetTarget({ listeners }: HeadraceNode): { host: string; port: number } {
  const tcp = listeners.find(({ transport }) => transport === "tcp");
  if (!tcp) throw new UsageError("--fleet needs the listener for MQTT over TCP");
  const { host, port } = tcp;
  return { host: host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host, port };
}

/** Runs until the duration is over, the signal aborts, or the node ends; the summary when there was a duration. */
export async function runNode(options: RunOptions, dependencies: RunDependencies): Promise<Summary | undefined> {
  const { app, dataFolder, host, durationMs } = options;
  const { display, interrupted } = dependencies;
  const fleetPath = options.fleet === undefined ? undefined : fleetFile(app, options.fleet);
  const node = await dependencies.startNode({
    app,
    dataFolder,
    host,
    listeners: options.listeners,
    ...(options.tls && { tls: options.tls }),
    httpPort: options.httpPort,
    ...(options.gateways !== undefined && { gateways: options.gateways }),
    ...(options.connections !== undefined && { connectionsMax: options.connections }),
    ...(options.linger !== undefined && { lingerMs: options.linger }),
    log: (entry) => display.note(logLine(entry)),
  });
  let firstAlertSeconds: number | null = null;
  node.onAlert((alert) => {
    if (alert.state === "raised") firstAlertSeconds ??= performance.now() / 1000;
    display.alert(alert);
  });
  // A terminal that goes away says the same, and means the end.
  const hangUp = options.tls && !process.stdin.isTTY ? () => node.reloadTls() : undefined;
  if (hangUp) process.on("SIGHUP", hangUp);
  let fleet: RunningFleet | undefined;
  let summary: Summary | undefined;
  let ended = false;
  const over = new AbortController();
  const stop = AbortSignal.any([interrupted, over.signal]);
  const closed = node.closed.finally(() => {
    ended = true;
    over.abort();
  });
  closed.catch(() => {});

  try {
    const startMs = performance.now();
    const { application } = await node.status();
    const mqttUrl = node.listeners.map(({ url }) => url).join("  ");
    display.begin({ application, dataFolder: node.dataFolder, apiUrl: node.apiUrl, mqttUrl });
    if (fleetPath !== undefined) {
      const { devices, rate, seed } = options;
      fleet = await startFleetThread(fleetPath, {
        ...fleetTarget(node),
        stateFile: join(node.dataFolder, "fleet-epoch"),
        ...(devices !== undefined && { devices }),
        ...(rate !== undefined && { rate }),
        ...(seed !== undefined && { seed }),
      });
    }
    dependencies.onStarted?.(node);
    const timer = durationMs === undefined ? undefined : setTimeout(() => over.abort(), durationMs);
    const frames = new Frames(startMs);
    while (!stop.aborted) {
      await sleep(frameMs, stop);
      if (!options.frames || ended) continue;
      display.frame(frames.next(await node.status(), fleet?.snapshot, performance.now()));
    }
    clearTimeout(timer);
    const counters = await fleet?.stop();
    fleet = undefined;
    if (durationMs !== undefined && !ended)
      summary = summaryOf(await drained(node, interrupted), counters, firstAlertSeconds);
  } catch (error) {
    // A node that had to stop says why; what failed because of it does not.
    if (ended) await closed;
    throw error;
  } finally {
    if (hangUp) process.off("SIGHUP", hangUp);
    display.end();
    fleet?.terminate();
    if (!ended) await node.close({ deadlineMs: closeMs });
  }
  await closed;
  return summary;
}
