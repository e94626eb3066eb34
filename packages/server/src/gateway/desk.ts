/** Where connections find and leave their sessions: in this thread, or from a gateway thread in the thread of the log. */
import type {
  ConnectRequest,
  ServerSession,
  SessionAction,
  SessionChange,
  SessionState,
  SubscribeAction,
  Will,
} from "@headrace/mqtt";
import type { Client } from "./clients.ts";
import type { Held } from "./fan-out-message.ts";
import type { Publisher } from "./ingest.ts";
import type { RetainedDelivery } from "./retained-delivery.ts";
import type { SessionConnection } from "./session-connection.ts";

/** A connection as its session is found and left. */
export interface DeskConnection extends SessionConnection, Client {
  readonly identity: string | undefined;
  /** Retained messages on their way to it, when its session ends with it. */
  readonly retained: RetainedDelivery;
  /** True when nothing more is read from it. */
  readonly isGone: boolean;
}

/** A session that outlives its connection, as the connection sees it: what changes is durable before the client sees an answer. */
export interface KeptSession {
  readonly state: SessionState<Held>;
  /** How long it is kept without a connection. */
  readonly expirySeconds: number;
  /** A step of a message to or from the client. */
  changed(change: SessionChange): void;
  /** A QoS 2 message of the client is part of the open group. */
  took(packetId: number): void;
  /** Sends what may be sent now. */
  pump(): void;
  /** Gives up a message that cannot be delivered: too large for the client, or no longer permitted. */
  discard(packetId: number): void;
}

/** A client that is admitted. */
export interface Opening {
  readonly connect: ConnectRequest;
  readonly connection: DeskConnection;
  /** Told which durable session it is, if one; gives the protocol's part, or nothing when the connection is gone. */
  readonly begin: (session: KeptSession | undefined) => ServerSession<Held> | undefined;
  readonly run: (actions: readonly SessionAction[]) => void;
  readonly authenticationData: Uint8Array | undefined;
}

export interface Subscribing {
  readonly session: ServerSession<Held>;
  readonly action: SubscribeAction;
  readonly connection: DeskConnection;
  readonly durable: KeptSession | undefined;
}

/** A connection that is gone. */
export interface Left {
  readonly connection: DeskConnection;
  readonly session: ServerSession<Held>;
  readonly durable: KeptSession | undefined;
  readonly publisher: Publisher;
}

/** Nothing more of a client is read until a promise that it got has settled. */
export interface Desk {
  /** Takes the client id and answers CONNECT. */
  open(opening: Opening): Promise<void> | undefined;
  subscribe(subscribing: Subscribing): Promise<void> | undefined;
  unsubscribe(connection: DeskConnection, durable: KeptSession | undefined, filter: string): void;
  /** The connection is gone; `will` is due unless the session goes on before its delay has passed. */
  leave(left: Left, will: Will | undefined): void;
}
