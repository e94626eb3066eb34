/** The control thread: makes or reads the token, listens, and stops when it is told to. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { HeadraceError } from "@headrace/sdk";
import { RemoteLog } from "../log/index.ts";
import { errorToWire, openRpc } from "../threads/index.ts";
import type { ApiLimits } from "./limits.ts";
import { buildServer } from "./server.ts";
import { StreamReader } from "./stream-reader.ts";
import { readOrMakeToken } from "./token.ts";

export interface ThreadOptions {
  readonly controlPort: MessagePort;
  readonly logPort: MessagePort;
  readonly host: string;
  readonly port: number;
  readonly tokenFile: string;
  readonly streams: readonly { readonly name: string; readonly partitions: number }[];
  readonly limits: ApiLimits;
}

/** The thread's first and only message. */
export type FromThread = { url: string; port: number } | { error: ReturnType<typeof errorToWire> };

/** Addresses that stand for "all" are called by the loopback's. */
function urlOf(host: string, port: number): string {
  const name = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `http://${name.includes(":") ? `[${name}]` : name}:${port}`;
}

function listenError(error: unknown, host: string, port: number): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  const data = { host, port };
  if (code === "EADDRINUSE") return new HeadraceError("HR_PORT_IN_USE", `port ${port} on ${host} is in use`, { data });
  if (code === "EACCES" || code === "EADDRNOTAVAIL" || code === "ENOTFOUND") {
    return new HeadraceError("HR_BAD_REQUEST", `cannot listen on port ${port} of ${host}: ${message}`, { data });
  }
  return error;
}

async function run(options: ThreadOptions): Promise<void> {
  const { controlPort, logPort, host, port, tokenFile, streams, limits } = options;
  const token = readOrMakeToken(tokenFile);
  const control = openRpc(controlPort);
  const log = new RemoteLog(logPort);
  const reader = new StreamReader(log, new Set(streams.map(({ name }) => name)));
  const stopping = new AbortController();
  const server = await buildServer({ control, reader, token, host, limits, stopping: stopping.signal });
  try {
    await server.listen({ host, port });
  } catch (error) {
    throw listenError(error, host, port);
  }
  const address = server.server.address();
  const listening = typeof address === "object" && address !== null ? address.port : port;

  parentPort?.once("message", () => {
    stopping.abort();
    setTimeout(() => server.server.closeAllConnections(), limits.stopDeadlineMs).unref();
    void server.close().finally(() => {
      control.close();
      log.close();
      parentPort?.close();
    });
  });
  parentPort?.postMessage({ url: urlOf(host, listening), port: listening } satisfies FromThread);
}

run(workerData as ThreadOptions).catch((error: unknown) => {
  parentPort?.postMessage({ error: errorToWire(error) } satisfies FromThread);
  (workerData as ThreadOptions).controlPort.close();
  (workerData as ThreadOptions).logPort.close();
  parentPort?.close();
});
