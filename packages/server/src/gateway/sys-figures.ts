/** The figures of a node for `$SYS`, of all its listeners together. */
import type { ListenerTraffic } from "../control.ts";
import type { GatewayFigures } from "./figures.ts";
import type { Shared } from "./shared.ts";
import type { SysFigures } from "./sys-topics.ts";

export const sysFigures = (
  { sessions, retained }: Shared,
  traffic: readonly ListenerTraffic[],
  { dropped: messagesDropped, subscriptions }: Pick<GatewayFigures, "dropped" | "subscriptions">,
): SysFigures => {
  const sum = (pick: (listener: ListenerTraffic) => number): number =>
    traffic.reduce((total, listener) => total + pick(listener), 0);
  const all = ([qos0, qos1, qos2]: readonly [number, number, number]): number => qos0 + qos1 + qos2;
  let absentSessions = 0;
  for (const session of sessions?.values() ?? []) if (session.isAbsent) absentSessions += 1;
  return {
    connections: sum(({ connections }) => connections),
    absentSessions,
    connectionsAccepted: sum(({ accepted }) => accepted),
    messagesReceived: sum(({ messagesIn }) => all(messagesIn)),
    messagesSent: sum(({ messagesOut }) => all(messagesOut)),
    messagesDropped,
    bytesReceived: sum(({ bytesIn }) => bytesIn),
    bytesSent: sum(({ bytesOut }) => bytesOut),
    retained: retained.size,
    subscriptions,
  };
};
