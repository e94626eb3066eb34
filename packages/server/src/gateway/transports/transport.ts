/** What carries MQTT, where it is listened for, and what is known of the other side. */
import type { ClientCertificate } from "./certificate.ts";

export type Transport = "tcp" | "tls" | "ws" | "wss";

/** One place where devices connect. Travels between threads. */
export interface ListenerOptions {
  readonly transport: Transport;
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** With WebSocket: origins of web pages that may connect, such as `https://app.example`, or `*`. Pages of loopback and of the node's own address may. */
  readonly origins?: readonly string[];
  /** Addresses and networks of proxies: only they may connect, and each connection begins with a PROXY protocol header, version 2. */
  readonly proxies?: readonly string[];
}

/** What a connection needs of its transport: `Socket` as it is, so that plain TCP passes through nothing. */
export interface Wire {
  readonly destroyed: boolean;
  /** Bytes that were written and not taken yet. */
  readonly writableLength: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Keeps no reference to `bytes` when `writableLength` is 0 afterwards. */
  write(bytes: Uint8Array): boolean;
  /** Says the end to the other side, behind what was written. */
  end(): unknown;
  destroy(): unknown;
  pause(): unknown;
  resume(): unknown;
  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  on(event: "drain" | "close", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** The other side of a connection. */
export interface Peer {
  readonly transport: Transport;
  /** The client's address; behind a proxy the one that the proxy names. */
  readonly address: string;
  readonly port: number;
  /** When the connection was accepted, by the clock that does not jump. */
  readonly acceptedMs: number;
  /** What it has shown over TLS, valid or not; undefined when it has none or was asked for none. */
  readonly certificate: ClientCertificate | undefined;
}

/** What a listener has seen. */
export interface ListenerCounts {
  /** Open connections, also those that have not said CONNECT. */
  readonly connections: number;
  /** Connections that were turned away because there were too many. */
  readonly turnedAway: number;
  /** Connections that ended before they carried MQTT: what has to come first was missing, wrong or late. */
  readonly failed: number;
}
