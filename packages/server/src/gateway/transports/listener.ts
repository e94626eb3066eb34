/** A listener: bounds connections, keeps descriptors in reserve, hands each connection on with what is known of it, stops cleanly. */
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { HeadraceError } from "@headrace/sdk";
import type { Door, Visit } from "../door.ts";
import type { ListenerCounts, ListenerOptions, Peer, Wire } from "./transport.ts";

/** Descriptors that the log, the lake and the API need, however many devices connect. */
const descriptorsReserved = 256;

export interface Listener {
  readonly port: number;
  readonly counts: ListenerCounts;
  /** Accepts no more; settles when the last connection has gone. */
  stop(): Promise<void>;
  /** Ends what is still open. */
  destroy(): void;
}

export interface ListenerParts {
  readonly door: Door;
  /** Lets several threads listen on one port (Linux). */
  readonly reusePort?: boolean;
  readonly accept: (wire: Wire, peer: Peer, visit: Visit) => void;
}

/** Soft limit of open files of this process; Infinity where it cannot be read. */
const descriptorsMax = (): number => {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return found ? Number(found[1]) : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
};

/** Descriptors that connections may take; at least one. */
export const descriptorsFree = (): number => Math.max(1, descriptorsMax() - descriptorsReserved);

/** @throws HR_PORT_IN_USE naming host and port */
export const openListener = async (options: ListenerOptions, parts: ListenerParts): Promise<Listener> => {
  const { transport, host, port } = options;
  const { door, accept } = parts;
  const sockets = new Set<Socket>();
  let turnedAway = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    const { remoteAddress: address = "", remotePort = 0 } = socket;
    const visit = door.open(address);
    if (visit === undefined) {
      turnedAway += 1;
      socket.destroy();
      return;
    }
    if (visit.isOver) turnedAway += 1;
    sockets.add(socket);
    socket.on("close", () => {
      visit.end();
      sockets.delete(socket);
    });
    accept(socket, { transport, address, port: remotePort, acceptedMs: performance.now() }, visit);
  });
  await bind(server, options, parts.reusePort === true);
  server.on("error", (error) => process.emitWarning(`the MQTT listener on ${host}:${port} reports: ${error.message}`));
  return {
    port: (server.address() as AddressInfo).port,
    get counts() {
      return { connections: sockets.size, turnedAway };
    },
    stop: () => new Promise((resolve) => server.close(() => resolve())),
    destroy: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
};

const bind = (server: Server, { host, port }: ListenerOptions, reusePort: boolean): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") reject(error);
      else
        reject(
          new HeadraceError("HR_PORT_IN_USE", `port ${port} on ${host} is in use`, {
            cause: error,
            data: { host, port },
          }),
        );
    });
    server.listen({ host, port, backlog: 1024, ...(reusePort && { reusePort: true }) }, resolve);
  });

/** With a shared port the system lets a second node listen beside the first: found out by listening alone once. @throws HR_PORT_IN_USE */
export const assertFree = async (options: ListenerOptions): Promise<void> => {
  if (options.port === 0) return;
  const server = createServer();
  await bind(server, options, false);
  await new Promise<void>((resolve) => server.close(() => resolve()));
};
