/** Who takes messages, and what its subscriptions say of one. */
import type { Qos } from "@headrace/mqtt";
import type { FanOutMessage, Share } from "./fan-out-message.ts";
import type { Place } from "./place.ts";

/** Takes messages: a connection, a durable session, a group, or the other gateways. */
export interface Receiver {
  readonly clientId: string;
  /** Device that the receiver is: its identity, else its client id. */
  readonly deviceId: string;
  /** True for all other gateways together, which ask the policy for their own clients. */
  readonly isBus?: boolean;
  /** True for a client of another thread, which gets there what its subscriptions match, and from here what is meant for it alone. */
  readonly isElsewhere?: boolean;
  /** True for a session that nobody is connected to. */
  readonly isAbsent?: boolean;
  /** True for a group that chooses one of its members. */
  readonly isGroup?: boolean;
  /**
   * A durable session takes a message while it is being stored, at this place and with the same group, or drops it for
   * want of room; "live": as everybody else, when it is durable.
   */
  plan?(message: FanOutMessage, delivery: Delivery, place: Place): "taken" | "dropped" | "live";
  /** False when the message was neither written nor queued. */
  receive(message: FanOutMessage, delivery: Delivery): boolean;
}

/** One receiver's side of a topic: what its matching subscriptions say together. */
export interface Delivery {
  readonly receiver: Receiver;
  readonly qos: Qos;
  readonly retainAsPublished: boolean;
  /** True when every matching subscription says No Local. */
  readonly noLocal: boolean;
  readonly identifiers: readonly number[];
  /** The filters that match. */
  readonly filters: readonly string[];
  /** The shared subscription that it comes from. */
  readonly share?: Share;
}
