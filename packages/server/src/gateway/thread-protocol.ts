/** What the thread of the log and the gateway threads say to each other. */
import type { GrantedSubscription, Qos, SessionChange, Subscription, Will } from "@headrace/mqtt";
import type { errorToWire } from "../threads/index.ts";
import type { WireMessage } from "./fan-out-message.ts";
import type { GatewayFigures } from "./figures.ts";
import type { GatewayLimits } from "./limits.ts";
import type { WriterChannel } from "./partition-writer.ts";
import type { Place } from "./place.ts";
import type { PolicyModule } from "./policy-module.ts";
import type { SourceStream } from "./stream-state.ts";
import type { BusHeard, BusItem } from "./thread-bus.ts";
import type { TlsMaterial } from "./transports/tls-material.ts";
import type { ListenerOptions } from "./transports/transport.ts";

/** A stream with the channels of one thread's writer, one per partition. */
export interface ThreadStream {
  readonly stream: SourceStream;
  readonly channels: readonly WriterChannel[];
}

export interface ThreadStart {
  readonly listeners: readonly ListenerOptions[];
  readonly tls: TlsMaterial | undefined;
  /** Whether the thread also listens on a port of its own, so that a client can choose it. */
  readonly hasOwnPort: boolean;
  readonly limits: GatewayLimits;
  readonly streams: readonly ThreadStream[];
  readonly retained: readonly WireMessage[];
  /** Open connections of all gateway threads. */
  readonly connections: Int32Array<SharedArrayBuffer>;
  /** Which of them this one is. */
  readonly index: number;
}

/** What a thread does before it starts: the rest of the start happens in one turn. */
export interface ThreadPreparation {
  readonly policy: PolicyModule | undefined;
}

export interface ThreadPorts {
  /** In the order of the options. */
  readonly ports: readonly number[];
  readonly ownPort: number | undefined;
}

/** What an operator asks of every thread. */
export type ThreadQuery = "traffic" | "clients" | "client" | "kick";

/** A message that goes with a group: for other threads, for durable sessions, or retained. */
export interface GroupMessage {
  readonly message: WireMessage;
  /** Where it is stored; undefined when no stream takes it. */
  readonly place: Place | undefined;
  /** Whether somebody outside of the thread wants it. */
  readonly isWanted: boolean;
}

/** A QoS 2 message of a durable session that is part of a group. */
export interface TookMessage {
  readonly number: number;
  readonly packetId: number;
}

/** A client that asks for its session. */
export interface OpenRequest {
  readonly clientId: string;
  readonly identity: string | undefined;
  readonly clean: boolean;
  readonly expirySeconds: number;
  readonly receiveMaximum: number;
  readonly maximumPacketSize: number;
  readonly will: Will | undefined;
}

/** The session that it gets. */
export type OpenAnswer =
  | { readonly kind: "clean" | "full" | "ended" }
  | {
      readonly kind: "kept";
      readonly isNew: boolean;
      readonly subscriptions: readonly Subscription[];
      readonly received: readonly number[];
      readonly inFlight: readonly { readonly packetId: number; readonly qos: 1 | 2; readonly isReceived: boolean }[];
    };

export type Granted = Pick<GrantedSubscription, "subscription" | "sendRetained">;

/** What the subscriptions of a client say of a message, for the way between threads. */
export interface WireDelivery {
  readonly qos: Qos;
  readonly retainAsPublished: boolean;
  readonly identifiers: readonly number[];
  /** The shared subscription for which it comes. */
  readonly share: string | undefined;
}

/** From a gateway thread. `number` is the connection's, as the thread counts them. */
export type ToLog =
  | BusItem<WireMessage>
  | { readonly kind: "changed"; readonly number: number; readonly change: SessionChange }
  | { readonly kind: "unsubscribe"; readonly number: number; readonly filter: string }
  | { readonly kind: "discard"; readonly number: number; readonly packetId: number }
  | { readonly kind: "writable"; readonly number: number; readonly isWritable: boolean }
  | {
      readonly kind: "left";
      readonly number: number;
      readonly will: Will | undefined;
      readonly expirySeconds: number | undefined;
    }
  /** A message of a shared subscription that a client did not take: another member gets it. */
  | {
      readonly kind: "returned";
      readonly number: number;
      readonly share: string;
      readonly message: WireMessage;
    }
  | { readonly kind: "unlisted"; readonly number: number; readonly filter: string }
  | { readonly kind: "figures"; readonly figures: GatewayFigures };

/** To a gateway thread. */
export type ToThread =
  | BusHeard<WireMessage>
  | {
      readonly kind: "deliver";
      readonly number: number;
      readonly message: WireMessage;
      readonly delivery: WireDelivery;
    }
  | {
      readonly kind: "send";
      readonly number: number;
      readonly packetId: number;
      readonly step: "publish" | "again" | "release";
      readonly message: WireMessage | undefined;
      readonly qos: Qos;
      readonly retain: boolean;
      readonly identifiers: readonly number[];
    }
  | { readonly kind: "write"; readonly number: number; readonly bytes: Uint8Array }
  | { readonly kind: "end"; readonly number: number; readonly reasonCode: number; readonly reason: string }
  /** The thread's group is durable, or was not stored. `repeats` are places of events that were repeats. */
  | {
      readonly kind: "stored";
      readonly error: ReturnType<typeof errorToWire> | undefined;
      readonly repeats: readonly Place[];
    };
