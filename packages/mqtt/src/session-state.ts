import { Outbox, type OutboxOptions } from "./outbox.ts";
import { type SubscriptionLimits, SubscriptionList } from "./subscriptions.ts";

/**
 * What a session is beside its connection (MQTT 5.0 §4.1): subscriptions, messages to the client, and identifiers of
 * QoS 2 messages from it. A session that outlives its connection hands this to the next one.
 *
 * @typeParam M what the edge keeps of an outgoing message while it waits or is in flight
 */
export class SessionState<M> {
  readonly subscriptions: SubscriptionList;
  readonly outbox: Outbox<M>;
  /** QoS 2 messages of the client that were taken and whose PUBREL has not come. */
  readonly received = new Set<number>();

  constructor(options: { readonly limits?: SubscriptionLimits; readonly outbox: OutboxOptions }) {
    this.subscriptions = new SubscriptionList(options.limits);
    this.outbox = new Outbox(options.outbox);
  }
}
