/** Headrace as `npm start` runs it, with an application of the bench. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { BenchError } from "../errors.ts";
import { end, type Server, watched } from "./server.ts";

/** What the bench reads of GET /v1/status. */
export interface Status {
  readonly stored: number;
  readonly processed: number;
  readonly rejected: number;
  readonly streams: readonly { readonly name: string; readonly stored: number }[];
  readonly tasks: readonly {
    readonly name: string;
    readonly stream: string;
    readonly processed: number;
    readonly failed: number;
    readonly lagEvents: number;
    readonly lagMs: number;
  }[];
  readonly commands: { readonly sent: number; readonly pending: number };
  readonly lake: { readonly rows: number; readonly lagRows: number };
  readonly log: { readonly syncs: number; readonly syncMsP50: number; readonly syncMsP99: number };
}

export interface Headrace extends Server {
  status(): Promise<Status>;
  /** A call to the API. */
  get(path: string, signal?: AbortSignal): Promise<Response>;
  /** Ctrl-C: drains and stops. */
  stop(): Promise<void>;
}

const startMs = 60_000;
const cli = fileURLToPath(new URL("./main.ts", import.meta.resolve("headrace")));

export const applications = ["ingest", "one-function", "five-functions", "echo"] as const;
export type Application = (typeof applications)[number];

export interface HeadraceOptions {
  readonly application: Application;
  readonly dataFolder: string;
  /** Writes a CPU profile of every thread there when it is stopped, not killed. */
  readonly profileFolder?: string;
  /** Longest wait of input for company, ms; default: the node's. */
  readonly lingerMs?: number;
  /** Gateway threads; default: the node's. */
  readonly gateways?: number;
  /** Most connections of each gateway thread; default: the node's. */
  readonly connections?: number;
}

interface NodeFile {
  readonly pid: number;
  readonly apiUrl: string;
  readonly mqttUrl: string;
}

function nodeFile(dataFolder: string): NodeFile | undefined {
  try {
    return JSON.parse(readFileSync(join(dataFolder, "node.json"), "utf8")) as NodeFile;
  } catch {
    // Not there yet, or only half of it.
    return undefined;
  }
}

/** Starts a node on the folder, which may hold data; settles when it takes messages. */
export async function startHeadrace(options: HeadraceOptions): Promise<Headrace> {
  const { application, dataFolder, profileFolder, lingerMs, gateways, connections } = options;
  const app = fileURLToPath(new URL(`../../apps/${application}.ts`, import.meta.url));
  const profile = profileFolder === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", profileFolder];
  const node = ["--conditions=headrace-source", "--disable-warning=ExperimentalWarning", ...profile];
  const more = Object.entries({ "--linger": lingerMs, "--gateways": gateways, "--connections": connections }).flatMap(
    ([name, value]) => (value === undefined ? [] : [name, String(value)]),
  );
  const start = ["start", app, "--data", dataFolder, "--mqtt-port", "0", "--http-port", "0", "--json", ...more];
  // A session of its own: Ctrl-C at the terminal ends the bench, and the bench ends the server.
  const child = spawn(process.execPath, [...node, cli, ...start], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const words = watched(child);
  const deadlineMs = performance.now() + startMs;
  let file: NodeFile | undefined;
  while (file === undefined || file.pid !== child.pid) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new BenchError(`Headrace did not start: ${words()}`);
    if (performance.now() > deadlineMs) {
      await end(child, "SIGKILL");
      throw new BenchError(`Headrace did not start within ${startMs / 1000} s: ${words()}`);
    }
    await sleep(50);
    file = nodeFile(dataFolder);
  }
  const { apiUrl, mqttUrl } = file;
  const authorization = `Bearer ${readFileSync(join(dataFolder, "api-token"), "utf8").trim()}`;
  const get = async (path: string, signal?: AbortSignal): Promise<Response> => {
    const response = await fetch(`${apiUrl}${path}`, { headers: { authorization }, ...(signal && { signal }) });
    if (!response.ok) throw new BenchError(`${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  return {
    pid: child.pid!,
    mqttPort: Number(new URL(mqttUrl).port),
    get,
    status: async () => (await (await get("/v1/status")).json()) as Status,
    kill: () => end(child, "SIGKILL"),
    stop: () => end(child, "SIGINT"),
    [Symbol.asyncDispose]: () => end(child, "SIGKILL"),
  };
}
