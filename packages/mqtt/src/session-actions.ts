import type { ConnectPacket } from "./connect.ts";
import type { OutboxBudget } from "./outbox.ts";
import type { ProtocolVersion } from "./packet.ts";
import type { Properties } from "./properties.ts";
import type { Subscription, SubscriptionLimits, SubscriptionRequest } from "./subscriptions.ts";

/** How one connection of a server behaves. */
export interface SessionOptions extends SubscriptionLimits {
  /** Makes a unique client id for a client that has none; called at most once. */
  readonly generateClientId: () => string;
  /** Largest packet taken, announced in CONNACK; give the scanner the same. Default 262,144 bytes. */
  readonly maximumPacketSize?: number;
  /** QoS 1 and 2 messages of the client that may wait for their end, announced in CONNACK. Default 1,000. */
  readonly receiveMaximum?: number;
  /** Longest keep alive; a version 5 client is told when its own is longer or off. Default 3,600 seconds. */
  readonly keepAliveMaxSeconds?: number;
  /** A 3.1.1 client cannot be told: it may be silent for this long when its keep alive is off or longer. Default 86,400. */
  readonly idleMaxSeconds?: number;
  /** Topic aliases that a client may set, announced in CONNACK. Default 32. */
  readonly topicAliasMaximum?: number;
  /** AUTH packets of one connection; one more ends it. Default 32. */
  readonly authPacketsMax?: number;
  /** Whether extended authentication is offered; else a CONNECT with a method is refused with 0x8C. Default false. */
  readonly extendedAuthentication?: boolean;
  /** Longest client id in UTF-16 units; longer ones are refused with 0x85. Default 256. */
  readonly clientIdLengthMax?: number;
  /** Most messages that wait to be sent to the client. Default 1,000. */
  readonly queueMessagesMax?: number;
  /** Most bytes that wait to be sent to the client. Default 1 MiB. */
  readonly queueBytesMax?: number;
  /** Bytes in flight to the client from which on messages wait; default as in {@link OutboxOptions}. */
  readonly inFlightBytesMax?: number;
  /** Bytes that all sessions together hold for their clients. Default: no bound. */
  readonly outboxBudget?: OutboxBudget;
}

/** A valid CONNECT as the session understands it. */
export interface ConnectRequest extends ConnectPacket {
  /** The client's, or one made by the server (`assigned`). */
  readonly clientId: string;
  readonly assigned: boolean;
}

/** What the edge must do after a cold packet, in order. */
export type SessionAction =
  /** Decide whether this client may connect, then call `accept` or `refuse`; scan no further packet until then. */
  | { readonly type: "authenticate"; readonly connect: ConnectRequest }
  /** Write these bytes. */
  | { readonly type: "send"; readonly bytes: Uint8Array }
  /** The client is connected: CONNACK precedes this action. */
  | { readonly type: "connected"; readonly clientId: string; readonly version: ProtocolVersion }
  /** Ask the policy about each request, then call `completeSubscribe`. */
  | {
      readonly type: "subscribe";
      readonly packetId: number;
      readonly requests: readonly SubscriptionRequest[];
      readonly identifier: number | undefined;
      readonly properties: Properties;
    }
  /** These subscriptions exist no longer. */
  | { readonly type: "unsubscribe"; readonly subscriptions: readonly Subscription[] }
  /** A step of a message to or from the client, see {@link SessionChange}. */
  | SessionChange
  /** A step of extended authentication: decide, then call `challenge`, `accept`, `refuse`, `authenticated` or `fail`. */
  | { readonly type: "auth"; readonly method: string; readonly data: Uint8Array | undefined; readonly isAgain: boolean }
  /** Flush, close the socket, call `end`. The code is the client's own when it said DISCONNECT; 0 is a regular one. */
  | {
      readonly type: "close";
      readonly reasonCode: number;
      readonly reason: string;
      readonly isFromClient: boolean;
    };

/**
 * The state of the session changed: where sessions are durable, make the change durable and only then write `bytes`;
 * else write them at once.
 *
 * - `acknowledged`: a message reached the client (PUBACK, PUBCOMP, or PUBREC with an error): `outbox.take()` may have more
 * - `received`: the client has a QoS 2 message; `bytes` is PUBREL
 * - `released`: the client let go of the identifier of a QoS 2 message of its own; `bytes` is PUBCOMP
 */
export interface SessionChange {
  readonly type: "acknowledged" | "received" | "released";
  readonly packetId: number;
  /** As the client gave it. */
  readonly reasonCode: number;
  readonly bytes: Uint8Array | undefined;
}

export type SubscribeAction = Extract<SessionAction, { type: "subscribe" }>;
