/** SUBSCRIBE: the policy, the subscriptions, and the retained messages that are due (MQTT 5.0 §3.8.4). */
import { type GrantedSubscription, reasonCodes } from "@headrace/mqtt";
import type { DeskConnection, Subscribing } from "./desk.ts";
import { DurableSession } from "./durable-session.ts";
import { countReason } from "./figures.ts";
import type { SessionConnection } from "./session-connection.ts";
import type { Shared } from "./shared.ts";
import { deliveryOf } from "./subscribers.ts";

/** Asks the policy and makes the subscriptions of the protocol's part; `bytes` are the answer. */
export const grant = (
  { fanOut, authorize, counters, limits }: Pick<Shared, "fanOut" | "authorize" | "counters" | "limits">,
  { session, action, connection }: Subscribing,
): { readonly bytes: Uint8Array; readonly granted: readonly GrantedSubscription[] } => {
  const { identity, clientId } = connection;
  const { subscribers } = fanOut;
  let roomForSubscriptions = limits.subscriptionsTotalMax - subscribers.count;
  let roomForCost = limits.matchCostMax - subscribers.matchCostMax;
  const codes = action.requests.map(({ filter, reasonCode }) => {
    if (reasonCode >= 0x80) return reasonCode;
    if (authorize("subscribe", identity, clientId, filter) !== undefined) return reasonCodes.notAuthorized;
    const extraCost = subscribers.extraCost(filter);
    if (roomForSubscriptions <= 0 || (extraCost > 0 && extraCost > roomForCost)) return reasonCodes.quotaExceeded;
    roomForSubscriptions -= 1;
    roomForCost -= extraCost;
    return reasonCode;
  });
  for (const code of codes) if (code >= 0x80) countReason(counters.reasons, code);
  return session.completeSubscribe(action, codes);
};

/** Answers, subscribes `receiver`, which is the connection or its durable session, and gives it what is retained. */
export const subscribe = (
  { fanOut, retained, subscribed, nowMs }: Pick<Shared, "fanOut" | "retained" | "subscribed" | "nowMs">,
  receiver: DeskConnection | DurableSession,
  connection: SessionConnection,
  bytes: Uint8Array,
  granted: readonly Pick<GrantedSubscription, "subscription" | "sendRetained">[],
): void => {
  const durable = receiver instanceof DurableSession ? receiver : undefined;
  for (const { subscription } of granted) durable?.subscribed(subscription);
  if (durable === undefined) connection.write(bytes);
  else durable.writeLater(bytes);
  for (const { subscription, sendRetained } of granted) {
    fanOut.subscribers.add(receiver, subscription);
    if (!sendRetained) continue;
    const delivery = { ...deliveryOf(receiver, [subscription]), retainAsPublished: true };
    for (const message of retained.matching(subscription.filter, nowMs())) {
      if (durable === undefined || Math.min(message.qos, delivery.qos) === 0) fanOut.deliverTo(message, delivery);
      else if (fanOut.mayReceive(durable, message.topic)) durable.keep(message, delivery);
    }
  }
  for (const { subscription } of granted) subscribed(subscription.filter, receiver);
};
