import type { Subscription } from "@headrace/mqtt";
import type { ClientQuery, ClientSummary } from "../control.ts";

/** A client that can be listed: a connection, or a session that nobody is connected to. */
export interface Listed {
  readonly clientId: string;
  matches(query: ClientQuery): boolean;
  summary(): ClientSummary;
  subscriptions(): Iterable<Subscription>;
}
