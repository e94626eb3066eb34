/**
 * The clients of one gateway thread as operators see them. Asked for now and then, and then at the cost of one comparison for
 * each client: only those on the page are looked at closely.
 */
import { reasonCodes } from "@headrace/mqtt";
import type { ClientDetail, ClientQuery, ClientSummary, KickOptions, KickResult } from "../control.ts";
import type { DurableSession } from "./durable-session.ts";
import type { Listed } from "./listed.ts";
import type { Shared } from "./shared.ts";

/** Keeps the first `limit` of what it is given, in the order of their ids. */
class Page {
  readonly found: Listed[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** True when `id` would be on the page. */
  takes(id: string): boolean {
    const last = this.found.at(-1);
    return last === undefined || this.found.length < this.#limit || id < last.clientId;
  }
  add(listed: Listed): void {
    let low = 0;
    let high = this.found.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.found[middle] as Listed).clientId < listed.clientId) low = middle + 1;
      else high = middle;
    }
    this.found.splice(low, 0, listed);
    if (this.found.length > this.#limit) this.found.pop();
  }
}

const absentOf = (session: DurableSession): Listed => ({
  clientId: session.clientId,
  matches: ({ protocol, address, listener }) =>
    protocol === undefined && address === undefined && listener === undefined,
  summary: () => {
    const { clientId, identity, state, expiresAtMs, expirySeconds } = session;
    return {
      clientId,
      state: "absent",
      ...(identity !== undefined && { identity }),
      session: "lasting",
      sessionExpirySeconds: expirySeconds,
      expiresAtMs,
      subscriptions: state.subscriptions.size,
      inFlight: state.outbox.inFlightCount,
      queued: state.outbox.queuedCount,
      queuedBytes: state.outbox.queuedBytes,
      unacknowledged: state.received.size,
    };
  },
  subscriptions: () => session.state.subscriptions.values(),
});

/** The page behind `query.after`, at most `query.limit` clients in the order of their ids. */
export const listClients = ({ clients, sessions }: Shared, query: ClientQuery): ClientSummary[] => {
  const page = new Page(query.limit);
  const { after = "", contains, state } = query;
  const consider = (id: string, view: () => Listed): void => {
    if (id <= after || !page.takes(id) || (contains !== undefined && !id.includes(contains))) return;
    const listed = view();
    if (listed.matches(query)) page.add(listed);
  };
  if (state !== "absent") for (const client of clients.connected()) consider(client.clientId, () => client.view());
  if (state !== "connected" && sessions !== undefined) {
    for (const session of sessions.values()) if (session.isAbsent) consider(session.clientId, () => absentOf(session));
  }
  return page.found.map((listed) => listed.summary());
};

/** One client with its subscriptions; undefined when this thread does not know it. */
export const showClient = ({ clients, sessions }: Shared, clientId: string): ClientDetail | undefined => {
  const session = sessions?.get(clientId);
  const listed = clients.connectedAs(clientId)?.view() ?? (session?.isAbsent ? absentOf(session) : undefined);
  if (listed === undefined) return undefined;
  const filters = [...listed.subscriptions()].map(({ filter, qos, noLocal, retainAsPublished, identifier }) => ({
    filter,
    qos,
    noLocal,
    retainAsPublished,
    ...(identifier !== undefined && { identifier }),
  }));
  return { ...listed.summary(), filters };
};

/** The answer of a thread that does not know the client. */
export const nobody: KickResult = { disconnected: false, sessionEnded: false };

/** Ends the connection of a client, and its session when that is asked for. */
export const kickClient = (
  { clients, sessions }: Shared,
  clientId: string,
  { reason, endSession = false }: KickOptions,
): KickResult => {
  const client = clients.connectedAs(clientId);
  const session = endSession ? sessions?.get(clientId) : undefined;
  client?.end(reasonCodes.administrativeAction, reason);
  if (session !== undefined) sessions?.end(session);
  return { disconnected: client !== undefined, sessionEnded: session !== undefined };
};

/** The pages of several threads as one. A client that has just moved from one to another is there once, connected. */
export const mergePages = (pages: readonly (readonly ClientSummary[])[], limit: number): ClientSummary[] => {
  const byId = new Map<string, ClientSummary>();
  for (const client of pages.flat()) {
    if (client.state === "connected" || !byId.has(client.clientId)) byId.set(client.clientId, client);
  }
  return [...byId.values()].sort((a, b) => (a.clientId < b.clientId ? -1 : 1)).slice(0, limit);
};
