/** The sessions of a gateway that shares its thread with the log. */
import type { Will } from "@headrace/mqtt";
import type { Desk, DeskConnection, KeptSession, Left, Opening, Subscribing } from "./desk.ts";
import { DurableSession } from "./durable-session.ts";
import { leaveSession } from "./leave-session.ts";
import { openSession } from "./open-session.ts";
import type { Sessions } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { grant, subscribe } from "./subscribe.ts";

/** Sessions of this thread are of this class alone. */
const own = (kept: KeptSession | undefined): DurableSession | undefined =>
  kept instanceof DurableSession ? kept : undefined;

export class OwnDesk implements Desk {
  readonly #shared: Shared;
  readonly #sessions: Sessions;

  constructor(shared: Shared, sessions: Sessions) {
    this.#shared = shared;
    this.#sessions = sessions;
  }

  open(opening: Opening): Promise<void> | undefined {
    this.#shared.clients.claim(opening.connection);
    return openSession(this.#shared, this.#sessions, opening);
  }

  subscribe(subscribing: Subscribing): undefined {
    const { connection, durable } = subscribing;
    const { bytes, granted } = grant(this.#shared, subscribing);
    subscribe(this.#shared, own(durable) ?? connection, connection, bytes, granted);
  }

  unsubscribe(connection: DeskConnection, durable: KeptSession | undefined, filter: string): void {
    const session = own(durable);
    this.#shared.fanOut.subscribers.remove(session ?? connection, filter);
    session?.unsubscribed(filter);
  }

  leave({ connection, session, durable, publisher }: Left, will: Will | undefined): void {
    const { newSessionExpirySeconds } = session;
    leaveSession(
      this.#shared,
      this.#sessions,
      { connection, session, durable: own(durable), newSessionExpirySeconds, publisher },
      will,
    );
  }
}
