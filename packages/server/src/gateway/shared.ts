import type { OutboxBudget } from "@headrace/mqtt";
import type { Clients } from "./clients.ts";
import type { ConnectionEvents } from "./connection-events.ts";
import type { Door } from "./door.ts";
import type { FanOut } from "./fan-out.ts";
import type { Reasons } from "./figures.ts";
import type { Flapping } from "./flapping.ts";
import type { Ingest } from "./ingest.ts";
import type { Intake } from "./intake.ts";
import type { KeepAlive } from "./keep-alive.ts";
import type { GatewayLimits } from "./limits.ts";
import type { Mechanisms } from "./mechanism.ts";
import type { Authenticate, Authorize } from "./policy.ts";
import type { Receiver } from "./receiver.ts";
import type { Retained } from "./retained.ts";
import type { Router } from "./routes.ts";
import type { Sessions } from "./sessions.ts";
import type { WillQueue } from "./will-queue.ts";

/** What all connections of a gateway share. */
export interface Shared {
  readonly router: Router;
  readonly ingest: Ingest;
  readonly intake: Intake;
  readonly fanOut: FanOut;
  readonly retained: Retained;
  readonly clients: Clients;
  readonly keepAlive: KeepAlive;
  readonly limits: GatewayLimits;
  readonly authorize: Authorize;
  readonly authenticate: Authenticate;
  readonly nowMs: () => number;
  readonly door: Door;
  readonly flapping: Flapping;
  readonly wills: WillQueue;
  /** Bytes that connected clients have not taken. */
  readonly outgoing: OutboxBudget;
  readonly counters: { refused: number; eventsDropped: number; readonly reasons: Reasons };
  readonly connectionEvents: ConnectionEvents;
  /** Extended authentication that is offered. */
  readonly mechanisms?: Mechanisms | undefined;
  /** Sessions that outlive their connections; undefined in a gateway thread beside the log's. */
  readonly sessions?: Sessions | undefined;
  /** Called with each subscription of a receiver, and again when its client comes back. */
  readonly subscribed: (filter: string, receiver: Receiver) => void;
}
