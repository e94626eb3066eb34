/** A node as a process of its own, as `headrace start` runs it, for tests that kill it, and what they ask of it over HTTP. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../../", import.meta.url));
export const appFile = (name: string): string => join(repository, "tests/src/fixtures", `${name}.ts`);
/** Node with the sources of the command, as `npm start` calls it. */
export const command: readonly string[] = [
  "--conditions=headrace-source",
  "--disable-warning=ExperimentalWarning",
  join(repository, "packages/cli/src/main.ts"),
];
/** Far more than it takes: a busy machine must not fail a test. */
export const startDeadlineMs = 60_000;
export const soon = { timeout: 30_000, interval: 50 };

/** Only what a shell has: the options and variables of the test runner stay here. */
export const environment: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_|VITEST|TEST$|FORCE_COLOR|HEADRACE)/.test(name)),
);

export interface Folder extends Disposable {
  readonly path: string;
}

/** A folder that goes with the test. */
export function temporaryFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), "headrace-system-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) };
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((answer) => {
    const server = createServer();
    server.once("error", () => answer(false));
    server.listen(port, "127.0.0.1", () => server.close(() => answer(true)));
  });

/**
 * A port that stays the same over restarts. Below the range of ephemeral ports: devices that call a dead node again and
 * again would else now and then be given that very port and connect to themselves.
 */
export async function stablePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await isFree(port)) return port;
  }
}

/** A process that has ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningOptions {
  /** Default: the repository. */
  readonly cwd?: string;
  /** A process group of its own, which gets the signals, as a terminal sends Ctrl-C. */
  readonly group?: boolean;
}

/** A process with its output. */
export class Running {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly ended: Promise<Ended>;
  readonly #group: boolean;
  #isEnded = false;

  constructor(file: string, args: readonly string[], options: RunningOptions = {}) {
    const { cwd = repository, group = false } = options;
    this.#group = group;
    this.child = spawn(file, args, { cwd, env: environment, stdio: ["pipe", "pipe", "pipe"], detached: group });
    this.child.stdin?.on("error", () => undefined);
    this.child.stdout?.setEncoding("utf8").on("data", (text) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text) => {
      this.stderr += text;
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.once("error", reject);
      this.child.once("close", (code, signal) => {
        this.#isEnded = true;
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
    this.ended.catch(() => undefined);
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }
  get isEnded(): boolean {
    return this.#isEnded;
  }
  /** Sends the signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<Ended> {
    if (this.#group) process.kill(-this.pid, signal);
    else this.child.kill(signal);
    return this.ended;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isEnded) await this.end("SIGKILL");
  }
}

/** Runs the command to its end; one that finds none is ended. */
export async function headrace(args: readonly string[], options: RunningOptions = {}): Promise<Ended> {
  await using running = new Running(process.execPath, [...command, ...args], options);
  const late = setTimeout(() => running.child.kill("SIGKILL"), startDeadlineMs);
  const ended = await running.ended;
  clearTimeout(late);
  return ended;
}

export interface NodeOptions {
  readonly app: string;
  readonly data: string;
  /** Default 0: a free one. */
  readonly mqttPort?: number;
  /** Of `start`. */
  readonly args?: readonly string[];
  /** Of Node: planted bugs. */
  readonly nodeArgs?: readonly string[];
  /** A command in front of the node, which becomes the node: it keeps the process id. */
  readonly prefix?: readonly string[];
}

/** A running node and its API. */
export class NodeProcess extends Running {
  readonly #data: string;
  #apiUrl = "";
  mqttPort = 0;

  constructor({ app, data, mqttPort = 0, args = [], nodeArgs = [], prefix = [] }: NodeOptions) {
    const ports = ["--mqtt-port", `${mqttPort}`, "--http-port", "0"];
    const start = [process.execPath, ...nodeArgs, ...command, "start", app, "--data", data, ...ports, ...args];
    const [file, ...rest] = [...prefix, ...start] as [string, ...string[]];
    super(file, rest);
    this.#data = data;
  }

  /** Starts a node and waits until it serves. */
  static async start(options: NodeOptions): Promise<NodeProcess> {
    const node = new NodeProcess(options);
    await node.serving();
    return node;
  }

  /** Waits until the node serves. A crash leaves the file of the node before, so the pid has to be this one's. */
  async serving(): Promise<void> {
    const deadline = performance.now() + startDeadlineMs;
    while (performance.now() < deadline) {
      if (this.isEnded) throw new Error(`the node ended while it started:\n${this.stdout}\n${this.stderr}`);
      const found = readNodeFile(this.#data);
      if (found?.pid === this.pid) {
        this.#apiUrl = found.apiUrl;
        this.mqttPort = Number(new URL(found.mqttUrl).port);
        return;
      }
      await sleep(10);
    }
    throw new Error(`the node did not start in ${startDeadlineMs} ms:\n${this.stdout}\n${this.stderr}`);
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const token = readFileSync(join(this.#data, "api-token"), "utf8").trim();
    const headers = {
      authorization: `Bearer ${token}`,
      ...(init.body !== undefined && { "content-type": "application/json" }),
    };
    return fetch(`${this.#apiUrl}${path}`, { ...init, headers });
  }

  /** The rows of a SELECT. */
  async query(sql: string): Promise<unknown[][]> {
    const response = await this.fetch("/v1/query", { method: "POST", body: JSON.stringify({ sql, rowsMax: 100_000 }) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${sql}: ${text}`);
    return (JSON.parse(text) as { rows: unknown[][] }).rows;
  }

  async status(): Promise<NodeStatus> {
    return (await (await this.fetch("/v1/status")).json()) as NodeStatus;
  }

  /** The first `limit` events that a stream keeps, in the order of its log; an error when there are fewer. */
  async events<Value>(stream: string, limit: number): Promise<StoredEvent<Value>[]> {
    if (limit === 0) return [];
    const signal = AbortSignal.timeout(startDeadlineMs);
    const response = await this.fetch(`/v1/tail/${stream}?from=start&limit=${limit}`, { signal });
    const text = await response.text();
    if (!response.ok) throw new Error(`${stream}: ${text}`);
    if (text.includes("event: ")) throw new Error(`${stream} has a gap or an error:\n${text.slice(0, 2000)}`);
    return [...text.matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json!) as StoredEvent<Value>);
  }

  /** Waits until all functions have processed everything stored. */
  async drained(): Promise<NodeStatus> {
    const deadline = performance.now() + startDeadlineMs;
    for (;;) {
      const status = await this.status();
      if (status.tasks.every(({ lagEvents, state }) => lagEvents === 0 && state === "running")) return status;
      if (performance.now() > deadline) throw new Error(`not drained: ${JSON.stringify(status.tasks)}`);
      await sleep(50);
    }
  }
}

export interface StoredEvent<Value> {
  readonly device: string;
  readonly topic: string;
  readonly partition: number;
  readonly sequence: number;
  readonly value: Value;
  readonly payload?: string;
}

/** What of `GET /v1/status` the tests look at. */
export interface NodeStatus {
  readonly connections: number;
  readonly streams: readonly { readonly name: string; readonly stored: number }[];
  readonly tasks: readonly {
    readonly name: string;
    readonly function: string;
    readonly state: string;
    readonly processed: number;
    readonly failed: number;
    readonly lagEvents: number;
  }[];
  readonly repeated: number;
  readonly refused: number;
  readonly rejected: number;
  readonly commands: { readonly pending: number; readonly acknowledged: number; readonly expired?: number };
}

/** How many events a stream has stored. */
export const storedIn = ({ streams }: NodeStatus, name: string): number =>
  streams.find((stream) => stream.name === name)?.stored ?? 0;

export interface NodeFile {
  readonly pid: number;
  readonly apiUrl: string;
  readonly mqttUrl: string;
}

/** What a node says about itself in its data folder; undefined when there is none, or not yet all of it. */
export function readNodeFile(data: string): NodeFile | undefined {
  try {
    return JSON.parse(readFileSync(join(data, "node.json"), "utf8")) as NodeFile;
  } catch {
    return undefined;
  }
}
