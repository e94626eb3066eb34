/** The options that say where devices connect: one port per transport, and the files of TLS. */
import type { ClientCertificates, ListenerOptions, TlsFiles, Transport } from "@headrace/server";
import { type Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../output/errors.ts";

/** A port, and the address to listen on when it is not that of --host. */
export interface Place {
  readonly host?: string;
  readonly port: number;
}

export interface TlsOptions {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly tlsCrl?: string;
  readonly tlsClientCert?: ClientCertificates;
}

export interface ListenerFlags extends TlsOptions {
  readonly host: string;
  readonly mqttPort: Place | "off";
  readonly mqttsPort?: Place;
  readonly wsPort?: Place;
  readonly wssPort?: Place;
  readonly wsOrigin?: readonly string[];
  readonly proxy?: readonly ProxyFlag[];
}

interface ProxyFlag {
  readonly transport: Transport;
  readonly network: string;
}

/** By the names that options use. */
const transports: Readonly<Record<string, Transport>> = { mqtt: "tcp", mqtts: "tls", ws: "ws", wss: "wss" };

/** `1883`, `0.0.0.0:1883` or `[::]:1883`. */
const place = (text: string): Place => {
  const [, host, digits] = /^(?:(\[[^\]]+\]|[^:[\]]+):)?(\d+)$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535)
    throw new InvalidArgumentError("A port from 0 to 65535, or an address and a port: 0.0.0.0:8883, [::]:8883.");
  return { port, ...(host !== undefined && { host: host.replace(/^\[|\]$/g, "") }) };
};

const proxyFlag = (text: string, before: readonly ProxyFlag[] = []): readonly ProxyFlag[] => {
  const [name = "", network] = text.split("=");
  const transport = transports[name];
  if (transport === undefined || !network)
    throw new InvalidArgumentError("A listener and the address or network of its proxies: mqtts=10.0.0.0/8.");
  return [...before, { transport, network }];
};

const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

/** Adds the files of TLS, which `doctor` takes as well. */
export const withTls = (command: Command): Command =>
  command
    .option("--tls-cert <file>", "the node's certificate and its chain, PEM; read again when it changes")
    .option("--tls-key <file>", "its private key, PEM")
    .option("--tls-ca <file>", "authorities that vouch for clients, PEM")
    .option("--tls-crl <file>", "what these authorities have revoked, PEM")
    .addOption(
      new Option("--tls-client-cert <when>", "certificates of clients").choices(["none", "optional", "required"]),
    );

/** Adds where devices connect. */
export const withListeners = (command: Command): Command =>
  withTls(
    command
      .option("--host <address>", "address to listen on; 0.0.0.0 is every network", "127.0.0.1")
      .option<Place | "off">(
        "--mqtt-port <port>",
        "MQTT over TCP; 0 takes a free port, off none, 0.0.0.0:1883 has an address of its own",
        (text) => (text === "off" ? text : place(text)),
        { port: 1883 },
      )
      .option("--mqtts-port <port>", "MQTT over TLS; needs --tls-cert and --tls-key", place)
      .option("--ws-port <port>", "MQTT over WebSocket, at the path /mqtt", place)
      .option("--wss-port <port>", "MQTT over WebSocket over TLS", place)
      .option("--ws-origin <origin>", "web pages that may connect, such as https://app.example; repeatable", collect)
      .option(
        "--proxy <listener=network>",
        "PROXY protocol v2 from there, such as mqtts=10.0.0.0/8; repeatable",
        proxyFlag,
      ),
  );

/** The files of TLS; undefined without them. */
export const tlsFilesOf = (options: TlsOptions): TlsFiles | undefined => {
  const { tlsCert: certificate, tlsKey: key, tlsCa, tlsCrl, tlsClientCert } = options;
  if (certificate === undefined || key === undefined) {
    for (const name of ["tlsCert", "tlsKey", "tlsCa", "tlsCrl", "tlsClientCert"] as const) {
      if (options[name] !== undefined) throw new UsageError("TLS needs --tls-cert and --tls-key");
    }
    return undefined;
  }
  return {
    certificate,
    key,
    ...(tlsCa !== undefined && { authorities: tlsCa }),
    ...(tlsCrl !== undefined && { revoked: tlsCrl }),
    ...(tlsClientCert !== undefined && { clientCertificates: tlsClientCert }),
  };
};

/** Where to listen; what makes no sense together is refused. */
export const listenersOf = (flags: ListenerFlags): { listeners: readonly ListenerOptions[]; tls?: TlsFiles } => {
  const { host, wsOrigin: origins, proxy = [] } = flags;
  const places: [Transport, Place | "off" | undefined][] = [
    ["tcp", flags.mqttPort],
    ["tls", flags.mqttsPort],
    ["ws", flags.wsPort],
    ["wss", flags.wssPort],
  ];
  const listeners = places.flatMap(([transport, at]): ListenerOptions[] => {
    if (at === undefined || at === "off") return [];
    const proxies = proxy.filter((flag) => flag.transport === transport).map(({ network }) => network);
    return [
      {
        transport,
        host,
        ...at,
        ...(origins && transport.startsWith("ws") && { origins }),
        ...(proxies.length > 0 && { proxies }),
      },
    ];
  });
  const has = (...wanted: Transport[]): boolean => listeners.some(({ transport }) => wanted.includes(transport));
  const tls = tlsFilesOf(flags);
  if (listeners.length === 0) throw new UsageError("--mqtt-port off leaves no listener");
  if (has("tls", "wss") && tls === undefined) throw new UsageError("TLS needs --tls-cert and --tls-key");
  if (tls !== undefined && !has("tls", "wss")) throw new UsageError("--tls-cert needs --mqtts-port or --wss-port");
  if (origins !== undefined && !has("ws", "wss")) throw new UsageError("--ws-origin needs --ws-port or --wss-port");
  for (const { transport } of proxy)
    if (!has(transport)) throw new UsageError("--proxy names a listener that has no port");
  return { listeners, ...(tls && { tls }) };
};
