/** The TCP listener: bounds connections, keeps descriptors in reserve, stops cleanly. */
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { HeadraceError } from "@headrace/sdk";

/** Descriptors that the log, the lake and the API need, however many devices connect. */
const descriptorsReserved = 256;

export interface Listener {
  readonly port: number;
  readonly count: number;
  /** Connections that were turned away because there were too many. */
  readonly turnedAway: number;
  /** Accepts no more; settles when the last connection has gone. */
  stop(): Promise<void>;
  /** Ends what is still open. */
  destroy(): void;
}

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly connectionsMax: number;
  /** Lets several threads listen on one port (Linux). */
  readonly reusePort?: boolean;
  readonly onConnection: (socket: Socket) => void;
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

/** @throws HR_PORT_IN_USE naming host and port */
export const listen = async (options: ListenerOptions): Promise<Listener> => {
  const { host, port, onConnection } = options;
  const sockets = new Set<Socket>();
  let turnedAway = 0;
  const server: Server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  server.maxConnections = Math.max(1, Math.min(options.connectionsMax, descriptorsMax() - descriptorsReserved));
  server.on("drop", () => {
    turnedAway += 1;
  });
  await new Promise<void>((resolve, reject) => {
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
    server.listen({ host, port, backlog: 1024, ...(options.reusePort && { reusePort: true }) }, resolve);
  });
  server.on("error", (error) => process.emitWarning(`the MQTT listener on ${host}:${port} reports: ${error.message}`));
  return {
    port: (server.address() as AddressInfo).port,
    get count() {
      return sockets.size;
    },
    get turnedAway() {
      return turnedAway;
    },
    stop: () => new Promise((resolve) => server.close(() => resolve())),
    destroy: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
};
