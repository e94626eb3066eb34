/** From an admitted CONNECT to its session: the one that the client left behind, a new one, or one that ends with the connection. */
import { type ConnectRequest, reasonCodes, type ServerSession, type SessionAction } from "@headrace/mqtt";
import type { DurableSession, SessionConnection } from "./durable-session.ts";
import type { Held } from "./fan-out-message.ts";
import type { Shared } from "./shared.ts";

/** How long a session is to live without a connection, as its client asks: for 3.1.1 as long as it may. */
const askedExpirySeconds = ({ version, clean, properties }: ConnectRequest): number => {
  if (version === 5) return properties.sessionExpirySeconds ?? 0;
  return clean ? 0 : Number.POSITIVE_INFINITY;
};

/**
 * Answers CONNECT; settles later when the messages of the session have to be read first.
 * @param begin told which durable session it is, if one; gives the protocol's part, or nothing when the connection is gone
 */
export const openSession = (
  { sessions, limits, subscribed }: Shared,
  connect: ConnectRequest,
  connection: SessionConnection & { readonly identity: string | undefined },
  begin: (session: DurableSession | undefined) => ServerSession<Held> | undefined,
  run: (actions: readonly SessionAction[]) => void,
  authenticationData?: Uint8Array,
): Promise<void> | undefined => {
  const asked = askedExpirySeconds(connect);
  if (sessions === undefined) {
    run(
      begin(undefined)?.accept({
        authenticationData,
        ...(connect.version === 5 && asked > 0 && { sessionExpirySeconds: 0 }),
      }) ?? [],
    );
    return undefined;
  }
  const { clientId, identity } = connection;
  const expirySeconds = Math.min(asked, limits.sessionExpiryMaxSeconds);
  const found = sessions.find({ clientId, identity, clean: connect.clean, expirySeconds });
  if (found === "full") {
    const reason = `${limits.sessionsMax} sessions are kept already`;
    run(begin(undefined)?.refuse(reasonCodes.quotaExceeded, reason) ?? []);
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
    const granted = expirySeconds === asked || connect.version === 4 ? {} : { sessionExpirySeconds: expirySeconds };
    run(protocol.accept({ session: session.state, sessionPresent: !isNew, authenticationData, ...granted }));
    session.pump();
    for (const { filter } of session.state.subscriptions.values()) subscribed(filter, session);
  };
  const loading = sessions.load(session);
  if (loading === undefined) {
    attach();
    return undefined;
  }
  return loading.then(() => {
    // Another connection may have ended the session meanwhile.
    if (session.isEnded) connection.end(reasonCodes.sessionTakenOver, "the session has ended");
    else attach();
  });
};
