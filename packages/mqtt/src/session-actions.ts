import type { ConnectPacket, Will } from "./connect.ts";
import type { ProtocolVersion } from "./packet.ts";
import type { Properties } from "./properties.ts";
import type { Subscription, SubscriptionLimits, SubscriptionRequest } from "./subscriptions.ts";

/** How one connection of a server behaves. */
export interface SessionOptions extends SubscriptionLimits {
  /** Makes a unique client id for a client that has none; called at most once. */
  readonly generateClientId: () => string;
  /** Largest packet taken, announced in CONNACK; give the scanner the same. Default 262,144 bytes. */
  readonly maximumPacketSize?: number;
  /** QoS 1 messages of the client that may wait for their PUBACK, announced in CONNACK. Default 1,000. */
  readonly receiveMaximum?: number;
  /** Longest keep alive; a version 5 client is told when its own is longer or off. Default 3,600 seconds. */
  readonly keepAliveMaxSeconds?: number;
  /** A 3.1.1 client cannot be told: it may be silent for this long when its keep alive is off or longer. Default 86,400. */
  readonly idleMaxSeconds?: number;
  /** Longest client id in UTF-16 units; longer ones are refused with 0x85. Default 256. */
  readonly clientIdLengthMax?: number;
  /** Most messages that wait to be sent to the client. Default 1,000. */
  readonly queueMessagesMax?: number;
  /** Most bytes that wait to be sent to the client. Default 1 MiB. */
  readonly queueBytesMax?: number;
}

/** A valid CONNECT as the session understands it. */
export interface ConnectRequest extends ConnectPacket {
  /** The client's, or one made by the server (`assigned`). */
  readonly clientId: string;
  readonly assigned: boolean;
  /** Will QoS 2 of a 3.1.1 client is lowered to 1. */
  readonly will?: Will;
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
  /** A QoS 1 message reached the client; `outbox.take()` may have more to send now. */
  | { readonly type: "acknowledged"; readonly packetId: number; readonly reasonCode: number }
  /** Flush, close the socket, call `end`. 0 is a regular DISCONNECT of the client. */
  | { readonly type: "close"; readonly reasonCode: number; readonly reason: string };

export type SubscribeAction = Extract<SessionAction, { type: "subscribe" }>;
