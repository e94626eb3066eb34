/** The HTTP request that becomes a WebSocket (RFC 6455 §4.2, MQTT 5.0 §6): one path, one subprotocol, no extension, no page of a stranger. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, STATUS_CODES } from "node:http";
import { isIP, type Socket } from "node:net";
import type { Arrival, Stage } from "./arrival.ts";
import type { Wire } from "./transport.ts";
import { WebSocketWire } from "./websocket-wire.ts";

export const webSocketPath = "/mqtt";
const subprotocol = "mqtt";
const headerBytesMax = 8 * 1024;
/** RFC 6455 §1.3. */
const keySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const loopbackNames = new Set(["localhost", "127.0.0.1", "[::1]"]);

interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface WebSocketOptions {
  /** Whether TLS is below: then the client has checked the name that it called. */
  readonly isSecure: boolean;
  /** Origins of web pages that may connect, such as `https://app.example`; `*` for all. */
  readonly origins: readonly string[];
}

const tokensOf = (header: string | undefined): string[] =>
  (header ?? "").split(",").map((token) => token.trim().toLowerCase());

const urlOf = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);

/**
 * Whether a page may connect; programs that are no browsers name no origin. Without this every page that somebody visits could
 * speak with a node on their machine or in their network. The page of the very host that was called may, unless that is a plain
 * name: an attacker's name can be made to lead here (DNS rebinding), an address cannot, and over TLS the certificate would not fit.
 */
const mayConnect = (origin: string | undefined, host: string | undefined, options: WebSocketOptions): boolean => {
  if (origin === undefined || options.origins.includes("*") || options.origins.includes(origin)) return true;
  const page = urlOf(origin);
  if (page === undefined || page.hostname === "") return false;
  if (loopbackNames.has(page.hostname)) return true;
  const called = urlOf(`http://${host}`);
  if (called === undefined || page.hostname !== called.hostname) return false;
  return options.isSecure || isIP(called.hostname.replace(/^\[|\]$/g, "")) !== 0;
};

const refusalOf = ({ method, url, headers }: IncomingMessage, options: WebSocketOptions): Refusal | undefined => {
  if (url?.split("?")[0] !== webSocketPath) return { status: 404, reason: `MQTT is at ${webSocketPath}` };
  if (method !== "GET") return { status: 405, reason: "a WebSocket begins with GET", headers: { Allow: "GET" } };
  if (!tokensOf(headers.upgrade).includes("websocket"))
    return { status: 426, reason: "MQTT over WebSocket is spoken here", headers: { Upgrade: "websocket" } };
  if (headers["sec-websocket-version"] !== "13")
    return { status: 426, reason: "version 13 is spoken here", headers: { "Sec-WebSocket-Version": "13" } };
  if (!/^[A-Za-z0-9+/]{22}==$/.test(headers["sec-websocket-key"] ?? ""))
    return { status: 400, reason: "Sec-WebSocket-Key is not 16 bytes in Base64" };
  if (!tokensOf(headers["sec-websocket-protocol"]).includes(subprotocol))
    return { status: 400, reason: `offer the subprotocol "${subprotocol}" (Sec-WebSocket-Protocol)` };
  if (!mayConnect(headers.origin, headers.host, options))
    return { status: 403, reason: `pages of ${headers.origin} may not connect; allow them with --ws-origin` };
  return undefined;
};

const acceptKeyOf = (key: string): string => createHash("sha1").update(`${key}${keySuffix}`).digest("base64");

const answer = (status: number, headers: Readonly<Record<string, string>>, body = ""): string => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`;
};

const plain = { "Content-Type": "text/plain; charset=utf-8", Connection: "close" };

/** Turns connections into WebSockets. */
export const webSocketStage = (options: WebSocketOptions, accept: (wire: Wire, arrival: Arrival) => void): Stage => {
  const arrivals = new WeakMap<object, Arrival>();
  // Never listens: sockets are given to it. What it would do about slow clients the deadline of the arrival does.
  const server: Server = createServer({ maxHeaderSize: headerBytesMax }, (request, response) => {
    const refusal = refusalOf(request, options) ?? { status: 400, reason: "Connection: Upgrade is missing" };
    response.writeHead(refusal.status, { ...plain, ...refusal.headers });
    response.end(`${refusal.reason}\n`);
  });
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const arrival = arrivals.get(socket);
    const refusal = refusalOf(request, options);
    if (refusal !== undefined || arrival === undefined) {
      const { status, reason, headers } = refusal ?? { status: 500, reason: "" };
      socket.write(answer(status, { ...plain, ...headers }, `${reason}\n`));
      socket.destroySoon();
      return;
    }
    const key = acceptKeyOf(request.headers["sec-websocket-key"] ?? "");
    const headers = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Accept": key };
    socket.write(answer(101, { ...headers, "Sec-WebSocket-Protocol": subprotocol }));
    accept(new WebSocketWire(socket, head), arrival);
  });
  return (socket, arrival) => {
    arrivals.set(socket, arrival);
    server.emit("connection", socket);
  };
};
