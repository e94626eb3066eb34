/** A fleet of simulated devices in its own thread. */
import { existsSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { HeadraceError } from "@headrace/sdk";
import type { FleetSnapshot } from "@headrace/simulator";
import type { FleetWorkerOptions, FromFleet } from "./fleet-worker.ts";

/** A fleet that runs. */
export interface RunningFleet {
  /** The newest counters; undefined in the first second. */
  readonly snapshot: FleetSnapshot | undefined;
  /** Stops sending, waits up to 1.5 s for acknowledgements, disconnects. */
  stop(): Promise<FleetSnapshot | undefined>;
  /** Ends it at once. */
  terminate(): void;
}

const workerFile = new URL(
  import.meta.url.endsWith(".ts") ? "./fleet-worker.ts" : "./fleet-worker.js",
  import.meta.url,
);

/** The fleet's file: as given, else `fleet.ts` beside the application. */
export function fleetFile(app: string, given: string | true): string {
  const folder = existsSync(app) && statSync(app).isDirectory() ? app : dirname(app);
  const file = given === true ? join(folder, "fleet.ts") : given;
  if (!existsSync(file)) throw new HeadraceError("HR_NOT_FOUND", `there is no fleet ${file}`, { data: { file } });
  return resolve(file);
}

/** @throws HeadraceError `HR_APP_LOAD_FAILED` when the file cannot be loaded or describes no fleet */
export async function startFleetThread(
  file: string,
  options: Omit<FleetWorkerOptions, "fileUrl">,
): Promise<RunningFleet> {
  const workerData: FleetWorkerOptions = { ...options, fileUrl: pathToFileURL(file).href };
  const worker = new Worker(workerFile, { name: "fleet", workerData });
  const started = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  let snapshot: FleetSnapshot | undefined;
  const failed = (message: string): void =>
    started.reject(new HeadraceError("HR_APP_LOAD_FAILED", `the fleet ${file}: ${message}`, { data: { file } }));
  worker.on("message", (message: FromFleet) => {
    if ("failed" in message) failed(message.failed);
    else if ("ready" in message) started.resolve();
    else if ("stopped" in message) snapshot = message.stopped;
    else snapshot = message.snapshot;
  });
  worker.once("error", (error) => failed(error.message));
  worker.once("exit", () => {
    failed("its thread ended");
    ended.resolve();
  });
  await started.promise;
  return {
    get snapshot() {
      return snapshot;
    },
    stop: async () => {
      worker.postMessage("stop");
      await ended.promise;
      return snapshot;
    },
    terminate: () => void worker.terminate(),
  };
}
