/** SUBSCRIBE and UNSUBSCRIBE: the policy, the subscriptions, and the retained messages that are due (MQTT 5.0 §3.8.4). */
import { reasonCodes, type ServerSession, type SubscribeAction, type Subscription } from "@headrace/mqtt";
import type { DurableSession, SessionConnection } from "./durable-session.ts";
import type { Held } from "./fan-out-message.ts";
import { countReason } from "./figures.ts";
import type { Shared } from "./shared.ts";
import { deliveryOf } from "./subscribers.ts";

export const subscribe = (
  { fanOut, retained, authorize, subscribed, nowMs, counters, limits }: Shared,
  session: ServerSession<Held>,
  action: SubscribeAction,
  connection: SessionConnection & { readonly identity: string | undefined },
  durable: DurableSession | undefined,
): void => {
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
  const { bytes, granted } = session.completeSubscribe(action, codes);
  for (const code of codes) if (code >= 0x80) countReason(counters.reasons, code);
  const receiver = durable ?? connection;
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

export const unsubscribe = (
  { fanOut }: Shared,
  subscriptions: readonly Subscription[],
  connection: SessionConnection,
  durable: DurableSession | undefined,
): void => {
  for (const { filter } of subscriptions) {
    fanOut.subscribers.remove(durable ?? connection, filter);
    durable?.unsubscribed(filter);
  }
};
