/** From an admitted CONNECT to its session: the one that the client left behind, a new one, or one that ends with the connection. */
import { type ConnectRequest, reasonCodes } from "@headrace/mqtt";
import type { Opening } from "./desk.ts";
import type { Sessions } from "./sessions.ts";
import type { Shared } from "./shared.ts";

/** How long a session is to live without a connection, as its client asks: for 3.1.1 as long as it may. */
const askedExpirySeconds = ({ version, clean, properties }: ConnectRequest): number => {
  if (version === 5) return properties.sessionExpirySeconds ?? 0;
  return clean ? 0 : Number.POSITIVE_INFINITY;
};

/** How long it may, and what the client is told of that (MQTT 5.0 §3.2.2.3.2). */
export const grantedExpiry = (
  connect: ConnectRequest,
  maxSeconds: number,
): { readonly expirySeconds: number; readonly told: { readonly sessionExpirySeconds?: number } } => {
  const asked = askedExpirySeconds(connect);
  const expirySeconds = Math.min(asked, maxSeconds);
  const isAsAsked = expirySeconds === asked || connect.version === 4;
  return { expirySeconds, told: isAsAsked ? {} : { sessionExpirySeconds: expirySeconds } };
};

/** Why a client gets no session. */
export const tooManySessions = (sessionsMax: number): [reasonCode: number, reason: string] => [
  reasonCodes.quotaExceeded,
  `${sessionsMax} sessions are kept already`,
];

/** Answers CONNECT; settles later when the messages of the session have to be read first. */
export const openSession = (
  { limits, subscribed }: Pick<Shared, "limits" | "subscribed">,
  sessions: Sessions,
  { connect, connection, begin, run, authenticationData }: Opening,
): Promise<void> | undefined => {
  const { clientId, identity } = connection;
  const { expirySeconds, told } = grantedExpiry(connect, limits.sessionExpiryMaxSeconds);
  const found = sessions.find({ clientId, identity, clean: connect.clean, expirySeconds });
  if (found === "full") {
    run(begin(undefined)?.refuse(...tooManySessions(limits.sessionsMax)) ?? []);
    return undefined;
  }
  const { session, isNew } = found;
  if (session === undefined) {
    run(begin(undefined)?.accept({ authenticationData }) ?? []);
    return undefined;
  }
  const attach = (): void => {
    const protocol = begin(session);
    if (protocol === undefined) return;
    session.attach(connection, expirySeconds, connect.will, isNew);
    run(protocol.accept({ session: session.state, sessionPresent: !isNew, authenticationData, ...told }));
    session.pump();
    for (const { filter } of session.state.subscriptions.values()) subscribed(filter, session);
  };
  const tried = new Set<object>();
  const load = (): Promise<void> | undefined => {
    const loading = sessions.load(session, tried);
    if (loading === undefined) {
      attach();
      return undefined;
    }
    return loading.then(() => {
      // Another connection may have ended the session meanwhile.
      if (!session.isEnded) return load();
      connection.end(reasonCodes.sessionTakenOver, "the session has ended");
      return undefined;
    });
  };
  return load();
};
