/** SUBSCRIBE: the policy, the subscriptions, and the retained messages that are due (MQTT 5.0 §3.8.4). */
import { type GrantedSubscription, reasonCodes, type ServerSession } from "@headrace/mqtt";
import type { DeskConnection, Subscribing } from "./desk.ts";
import { DurableSession } from "./durable-session.ts";
import type { Held } from "./fan-out-message.ts";
import { countReason } from "./figures.ts";
import { RetainedDelivery } from "./retained-delivery.ts";
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
  shared: Pick<Shared, "fanOut" | "retained" | "subscribed" | "nowMs" | "limits">,
  receiver: DeskConnection | DurableSession,
  connection: SessionConnection,
  bytes: Uint8Array,
  granted: readonly Pick<GrantedSubscription, "subscription" | "sendRetained">[],
): void => {
  const { fanOut, subscribed } = shared;
  const durable = receiver instanceof DurableSession ? receiver : undefined;
  if (durable !== undefined) durable.retained ??= durableDelivery(shared, durable);
  for (const { subscription } of granted) durable?.subscribed(subscription);
  if (durable === undefined) connection.write(bytes);
  else durable.writeLater(bytes);
  for (const { subscription, sendRetained } of granted) {
    fanOut.subscribers.add(receiver, subscription);
    if (!sendRetained) continue;
    receiver.retained?.ask(subscription.filter, { ...deliveryOf(receiver, [subscription]), retainAsPublished: true });
  }
  receiver.retained?.go();
  for (const { subscription } of granted) subscribed(subscription.filter, receiver);
};

/** How a connection gets the retained messages of its subscriptions; a clean session's. */
export const retainedDelivery = (
  { fanOut, retained, nowMs }: Pick<Shared, "fanOut" | "retained" | "nowMs">,
  session: ServerSession<Held>,
): RetainedDelivery =>
  new RetainedDelivery({
    retained,
    nowMs,
    hasRoom: () => session.state === "connected" && session.outbox.writable && session.outbox.queuedCount === 0,
    deliver: (message, delivery) => void fanOut.deliverTo(message, delivery),
  });

const durableDelivery = (
  { fanOut, retained, nowMs, limits }: Pick<Shared, "fanOut" | "retained" | "nowMs" | "limits">,
  session: DurableSession,
): RetainedDelivery =>
  new RetainedDelivery({
    retained,
    nowMs,
    // What the session has taken it keeps when its connection ends, so it takes more at once.
    hasRoom: () => {
      const { queuedCount, queuedBytes } = session.state.outbox;
      const hasRoom = queuedCount < limits.sessionQueueMessagesMax / 2 && queuedBytes < limits.sessionQueueBytesMax / 2;
      return session.connection !== undefined && hasRoom;
    },
    deliver: (message, delivery) => {
      if (Math.min(message.qos, delivery.qos) === 0) fanOut.deliverTo(message, delivery);
      else if (fanOut.mayReceive(session, message.topic)) session.keep(message, delivery);
    },
  });
