/** A listener: bounds connections, keeps descriptors in reserve, hands each connection on with what is known of it, stops cleanly. */
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { HeadraceError } from "@headrace/sdk";
import type { Door, Visit } from "../door.ts";
import type { KeepAlive } from "../keep-alive.ts";
import { Arrival, type Stage } from "./arrival.ts";
import { proxyStage } from "./proxy-stage.ts";
import type { TlsMaterial } from "./tls-material.ts";
import { tlsStage } from "./tls-stage.ts";
import type { ListenerCounts, ListenerOptions, Peer, Wire } from "./transport.ts";
import { webSocketStage } from "./websocket-stage.ts";

/** Descriptors that the log, the lake and the API need, however many devices connect. */
const descriptorsReserved = 256;

export interface Listener {
  readonly port: number;
  readonly counts: ListenerCounts;
  /** For TLS handshakes from now on. */
  useTls(material: TlsMaterial): void;
  /** Accepts no more; settles when the last connection has gone. */
  stop(): Promise<void>;
  /** Ends what is still open. */
  destroy(): void;
}

export interface ListenerParts {
  readonly door: Door;
  /** Lets several threads listen on one port (Linux). */
  readonly reusePort?: boolean;
  /** Ends what has not become an MQTT connection in time. */
  readonly keepAlive: KeepAlive;
  readonly connectDeadlineMs: number;
  /** Has to be there for `tls` and `wss`. */
  readonly tls?: TlsMaterial | undefined;
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
  const { transport, host, port, proxies } = options;
  const sockets = new Set<Socket>();
  let turnedAway = 0;
  let failed = 0;
  /** Asked when the client's address is known; behind a proxy that is after its header. */
  const admit = (socket: Socket, arrival: Arrival): boolean => {
    arrival.visit = parts.door.open(arrival.address);
    if (arrival.visit === undefined || arrival.visit.isOver) turnedAway += 1;
    if (arrival.visit !== undefined) return true;
    arrival.isSettled = true;
    socket.destroy();
    return false;
  };
  const { enter, useTls } = stagesOf(options, parts, admit);
  const server = createServer({ noDelay: true }, (socket) => {
    const arrival = new Arrival(socket, transport, parts.connectDeadlineMs);
    sockets.add(socket);
    socket.on("close", () => {
      sockets.delete(socket);
      arrival.visit?.end();
      if (!arrival.isSettled) failed += 1;
    });
    if (proxies !== undefined || admit(socket, arrival)) enter(socket, arrival);
  });
  await bind(server, options, parts.reusePort === true);
  server.on("error", (error) => process.emitWarning(`the MQTT listener on ${host}:${port} reports: ${error.message}`));
  return {
    port: (server.address() as AddressInfo).port,
    get counts() {
      return { connections: sockets.size, turnedAway, failed };
    },
    useTls,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
    destroy: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
};

interface Stages {
  readonly enter: Stage;
  readonly useTls: (material: TlsMaterial) => void;
}

/** What a connection passes on its way to MQTT, of PROXY header, TLS and WebSocket: nothing with TCP alone. */
const stagesOf = (
  options: ListenerOptions,
  parts: ListenerParts,
  admit: (socket: Socket, arrival: Arrival) => boolean,
): Stages => {
  const { transport, proxies, origins = [] } = options;
  const { keepAlive } = parts;
  const arrived = (wire: Wire, arrival: Arrival): void => {
    arrival.isSettled = true;
    if (arrival.visit !== undefined) parts.accept(wire, arrival, arrival.visit);
  };
  if (transport === "tcp" && proxies === undefined) return { enter: arrived, useTls: () => undefined };

  const deliver = (wire: Wire, arrival: Arrival): void => {
    keepAlive.remove(arrival);
    arrived(wire, arrival);
  };
  const isSecure = transport === "tls" || transport === "wss";
  const mqtt: Stage = transport.startsWith("ws") ? webSocketStage({ isSecure, origins }, deliver) : deliver;
  const tls = isSecure ? tlsStage(materialOf(parts), mqtt) : undefined;
  const behindProxy: Stage = (socket, arrival) => {
    if (!admit(socket, arrival)) return;
    (tls?.enter ?? mqtt)(socket, arrival);
    // TLS takes by itself what its socket has read too early; the others have to be given it.
    if (tls === undefined) socket.resume();
  };
  const first = proxies === undefined ? (tls?.enter ?? mqtt) : proxyStage(proxies, behindProxy);
  const enter: Stage = (socket, arrival) => {
    keepAlive.add(arrival);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => keepAlive.remove(arrival));
    first(socket, arrival);
  };
  return { enter, useTls: (material) => tls?.use(material) };
};

const materialOf = ({ tls }: ListenerParts): TlsMaterial => {
  if (tls === undefined)
    throw new HeadraceError("HR_TLS_INVALID", "a listener for TLS needs a certificate and its key");
  return tls;
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
