/** headrace clients: who is connected, what each client does, and the end of one. */
import type { ClientDetail, ClientSummary, KickResult } from "@headrace/server";
import type { Command } from "commander";
import type { ConnectionOptions } from "../client/connection.ts";
import { table } from "../output/table.ts";
import { escaped, grouped, milliseconds } from "../output/text.ts";
import { clientOf, examples, type Output, oneOf, wholeNumber, withConnection } from "./options.ts";

type Options = ConnectionOptions & { readonly json?: boolean };

interface ListOptions extends Options {
  readonly limit: number;
  readonly after?: string;
  readonly contains?: string;
  readonly state?: string;
  readonly protocol?: string;
  readonly address?: string;
  readonly listener?: string;
}

const filters = ["after", "contains", "state", "protocol", "address", "listener"] as const;

/** The path of a client. A URL cannot hold `.` and `..` in its path, so those ids go into the query. */
const pathOf = (id: string, query = new URLSearchParams()): string => {
  const isDots = id === "." || id === "..";
  if (isDots) query.set("id", id);
  const text = query.toString();
  return `/v1/clients/${isDots ? "-" : encodeURIComponent(id)}${text === "" ? "" : `?${text}`}`;
};

const ago = (timeMs: number): string => `${milliseconds(Math.max(0, Date.now() - timeMs))} ago`;
const since = (timeMs: number): string => new Date(timeMs).toISOString().slice(0, 19).replace("T", " ");

const row = ({ clientId, state, connection, ...client }: ClientSummary): unknown[] => [
  escaped(clientId),
  state,
  connection?.address,
  connection?.listener,
  connection?.protocol,
  client.session,
  client.subscriptions,
  client.inFlight,
  client.queued,
  connection?.messagesIn ?? null,
  connection?.messagesOut ?? null,
  connection && ago(connection.lastPacketAtMs),
];
const columns = [
  "client",
  "state",
  "address",
  "listener",
  "protocol",
  "session",
  "subscriptions",
  "in flight",
  "queued",
  "in",
  "out",
  "last packet",
];

const fact = (name: string, text: string): string => `${`${name}:`.padEnd(16)}${text}\n`;

/** One client for people. */
function clientText(client: ClientDetail): string {
  const { clientId, state, identity, session, connection, expiresAtMs } = client;
  const lines = [
    fact("client", escaped(clientId)),
    fact("state", state),
    identity === undefined ? "" : fact("identity", escaped(identity)),
    fact("session", session === "clean" ? "clean" : `lasting, expires after ${grouped(client.sessionExpirySeconds)} s`),
    expiresAtMs === undefined ? "" : fact("ends", since(expiresAtMs)),
    fact(
      "to the client",
      `${client.inFlight} in flight, ${client.queued} queued (${grouped(client.queuedBytes)} bytes)`,
    ),
    fact("from the client", `${client.unacknowledged} without their end`),
  ];
  if (connection !== undefined) {
    const { address, listener, protocol, keepAliveSeconds, connectedAtMs, lastPacketAtMs } = connection;
    lines.push(
      fact("address", `${address} on ${listener}`),
      fact("protocol", `MQTT ${protocol}`),
      fact("keep alive", `${keepAliveSeconds} s`),
      fact("connected", `${since(connectedAtMs)} (${ago(connectedAtMs)})`),
      fact("last packet", ago(lastPacketAtMs)),
      fact("in", `${grouped(connection.messagesIn)} messages, ${grouped(connection.bytesIn)} bytes`),
      fact("out", `${grouped(connection.messagesOut)} messages, ${grouped(connection.bytesOut)} bytes`),
    );
  }
  if (client.filters.length === 0) return [...lines, fact("subscriptions", "none")].join("");
  const rows = client.filters.map(({ filter, qos, identifier }) => [escaped(filter), qos, identifier ?? null]);
  return `${lines.join("")}\n${table(["subscription", "QoS", "identifier"], rows)}\n`;
}

export function addClients(program: Command, { out }: Output): void {
  const group = program
    .command("clients")
    .summary("list, show and disconnect MQTT clients")
    .description("MQTT clients that are connected, and lasting sessions that nobody is connected to.")
    .addHelpText(
      "after",
      examples("headrace clients list --contains pump", "headrace clients show pump-7", "headrace clients kick pump-7"),
    );

  withConnection(group.command("list", { isDefault: true }))
    .description("Lists clients by id.")
    .option("--contains <text>", "clients whose id contains it")
    .option("--state <state>", "connected, or absent: a session without a connection", oneOf("connected", "absent"))
    .option("--protocol <version>", "3.1.1 or 5.0", oneOf("3.1.1", "5.0"))
    .option("--address <ip>", "clients from this address")
    .option("--listener <name>", "clients of this listener")
    .option("--limit <n>", "at most", wholeNumber(1, 1000), 100)
    .option("--after <id>", "clients behind this id: the next page")
    .option("--json", "print one JSON object")
    .addHelpText("after", examples("headrace clients list --state absent --limit 20"))
    .action(async (options: ListOptions) => {
      const query = new URLSearchParams({ limit: String(options.limit) });
      for (const name of filters) {
        const value = options[name];
        if (value !== undefined) query.set(name, value);
      }
      const page = await clientOf(options).get<{ clients: ClientSummary[]; next?: string }>(`/v1/clients?${query}`);
      if (options.json) return out(`${JSON.stringify(page)}\n`);
      if (page.clients.length === 0) return out("no clients\n");
      out(`${table(columns, page.clients.map(row))}\n`);
      if (page.next !== undefined) out(`there are more: --after ${escaped(JSON.stringify(page.next))}\n`);
    });

  withConnection(group.command("show"))
    .description("Shows one client: connection, session, subscriptions, figures.")
    .argument("<id>", "client id")
    .option("--json", "print one JSON object")
    .addHelpText("after", examples("headrace clients show pump-7 --json"))
    .action(async (id: string, options: Options) => {
      const client = await clientOf(options).get<ClientDetail>(pathOf(id));
      out(options.json ? `${JSON.stringify(client)}\n` : clientText(client));
    });

  withConnection(group.command("kick"))
    .description("Ends a client's connection. It may connect again, and its session goes on.")
    .argument("<id>", "client id")
    .option("--reason <text>", "told to an MQTT 5 client, with reason code 0x98")
    .option("--session", "end its session too: subscriptions and waiting messages are gone")
    .option("--json", "print one JSON object")
    .addHelpText("after", examples(`headrace clients kick pump-7 --reason "firmware too old"`))
    .action(async (id: string, options: Options & { reason?: string; session?: boolean }) => {
      const query = new URLSearchParams();
      if (options.reason !== undefined) query.set("reason", options.reason);
      if (options.session) query.set("session", "true");
      const { disconnected, sessionEnded } = await clientOf(options).delete<KickResult>(pathOf(id, query));
      if (options.json) return out(`${JSON.stringify({ disconnected, sessionEnded })}\n`);
      const what = [disconnected && "disconnected", sessionEnded && "session ended"].filter(Boolean).join(", ");
      out(`${escaped(id)}: ${what}\n`);
    });
}
