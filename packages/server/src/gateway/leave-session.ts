/** The end of a connection: its session goes on without it or ends with it, and its will is due or waits (MQTT 5.0 §3.1.2.5). */
import type { ServerSession, Will } from "@headrace/mqtt";
import type { DurableSession } from "./durable-session.ts";
import type { FanOut } from "./fan-out.ts";
import type { Held } from "./fan-out-message.ts";
import type { Publisher } from "./ingest.ts";
import type { SessionConnection } from "./session-connection.ts";
import type { Sessions } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { publishWill, type Testator } from "./wills.ts";

export interface Leaving {
  readonly connection: SessionConnection & Testator;
  /** Of a session that ends with the connection; undefined where another thread has it. */
  readonly session: ServerSession<Held> | undefined;
  readonly durable: DurableSession | undefined;
  /** What DISCONNECT changed the session expiry to. */
  readonly newSessionExpirySeconds: number | undefined;
  readonly publisher: Publisher;
}

export const leaveSession = (shared: Shared, sessions: Sessions, leaving: Leaving, will: Will | undefined): void => {
  const { connection, session, durable, newSessionExpirySeconds: asked, publisher } = leaving;
  if (durable === undefined) {
    if (session !== undefined) endWith(shared.fanOut, connection, session);
  } else if (durable.connection === connection && !durable.isEnded) {
    const expirySeconds = asked === undefined ? undefined : Math.min(asked, shared.limits.sessionExpiryMaxSeconds);
    durable.detach(will, expirySeconds, shared.nowMs());
    if (durable.expirySeconds === 0) sessions.end(durable);
    else sessions.tick(durable);
    return;
  }
  // Taken over: a will with a delay is not due when the session goes on (§3.1.3.2.2).
  const goesOn = durable !== undefined && !durable.isEnded;
  if (will === undefined || (goesOn && (will.properties?.willDelaySeconds ?? 0) > 0)) return;
  shared.wills.whenRoom(() => publishWill(shared, connection, publisher, will));
};

/** Ends a session that does not outlive its connection: what was given to it for a group goes to another member (§4.8.2). */
export const endWith = (fanOut: FanOut, connection: SessionConnection, session: ServerSession<Held>): void => {
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
