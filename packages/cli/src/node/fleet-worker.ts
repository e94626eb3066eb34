/** The fleet runs in a thread of its own, so that node and devices measure each other, not one event loop. */
import { parentPort, workerData } from "node:worker_threads";
import { type Fleet, type FleetSnapshot, startFleet } from "@headrace/simulator";

export interface FleetWorkerOptions {
  /** URL of the module whose default export is the fleet. */
  readonly fileUrl: string;
  readonly host: string;
  readonly port: number;
  readonly stateFile: string;
  readonly devices?: number;
  readonly rate?: number;
  readonly seed?: string;
}

export type FromFleet = { ready: true } | { snapshot: FleetSnapshot } | { stopped: FleetSnapshot } | { failed: string };

const { fileUrl, devices, rate, ...options } = workerData as FleetWorkerOptions;
const send = (message: FromFleet): void => parentPort?.postMessage(message);

try {
  const { default: fleet } = (await import(fileUrl)) as { default?: Fleet };
  if (typeof fleet?.payload !== "function") throw new Error("it has no default export made by defineFleet");
  const described = { ...fleet, ...(devices !== undefined && { devices }), ...(rate !== undefined && { rate }) };
  const running = startFleet(described, { ...options, drainMs: 1500, onSnapshot: (snapshot) => send({ snapshot }) });
  send({ ready: true });
  parentPort?.once("message", async () => {
    send({ stopped: await running.stop() });
    parentPort?.close();
  });
} catch (error) {
  send({ failed: error instanceof Error ? error.message : String(error) });
  parentPort?.close();
}
