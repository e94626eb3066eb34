/** The end of a connection: its session goes on without it or ends with it, and its will is due or waits (MQTT 5.0 §3.1.2.5). */
import type { ServerSession, Will } from "@headrace/mqtt";
import type { DurableSession, SessionConnection } from "./durable-session.ts";
import type { Held } from "./fan-out-message.ts";
import type { Publisher } from "./ingest.ts";
import type { Shared } from "./shared.ts";
import { publishWill } from "./wills.ts";

export interface Left {
  readonly connection: SessionConnection & { readonly identity: string | undefined };
  readonly session: ServerSession<Held>;
  readonly durable: DurableSession | undefined;
  readonly publisher: Publisher;
}

export const leaveSession = (shared: Shared, left: Left, will: Will | undefined): void => {
  const { connection, session, durable, publisher } = left;
  if (durable === undefined) endWith(shared, connection, session);
  else if (durable.connection === connection && !durable.isEnded) {
    const asked = session.newSessionExpirySeconds;
    const expirySeconds = asked === undefined ? undefined : Math.min(asked, shared.limits.sessionExpiryMaxSeconds);
    durable.detach(will, expirySeconds, shared.nowMs());
    if (durable.expirySeconds === 0) shared.sessions?.end(durable);
    else shared.sessions?.tick();
    return;
  }
  // Taken over: a will with a delay is not due when the session goes on (§3.1.3.2.2).
  const goesOn = durable !== undefined && !durable.isEnded;
  if (will === undefined || (goesOn && (will.properties?.willDelaySeconds ?? 0) > 0)) return;
  publishWill(shared, connection, publisher, will);
};

/** What was given to it for a group goes to another member (§4.8.2). */
const endWith = ({ fanOut }: Shared, connection: SessionConnection, session: ServerSession<Held>): void => {
  const { subscriptions, outbox } = session;
  for (const { filter } of [...subscriptions.values()]) fanOut.subscribers.remove(connection, filter);
  for (const { message: held, qos } of outbox.inFlight()) {
    if (qos === 1 && held.variant !== undefined) held.share?.receive(held.variant.message);
  }
  for (const { message: held } of outbox.waiting()) {
    if (held.variant !== undefined) held.share?.receive(held.variant.message);
  }
  outbox.pause();
};
