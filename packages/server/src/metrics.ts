/** The node's figures as Prometheus text (exposition format 0.0.4). */
import type { ListenerStatus, NodeStatus } from "./control.ts";

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

const escapeLabel = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

const family = (name: string, type: "counter" | "gauge", help: string, samples: readonly Sample[]): string => {
  const lines = samples.map(([labels, value]) => {
    const text = Object.entries(labels)
      .map(([label, content]) => `${label}="${escapeLabel(content)}"`)
      .join(",");
    return `${name}${text ? `{${text}}` : ""} ${value}`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("\n")}\n`;
};

const directions = ["in", "out"] as const;

/** Figures of listeners: never by client, of which there may be any number. */
const listenerFamilies = (listeners: readonly ListenerStatus[]): string[] => {
  const each = (pick: (listener: ListenerStatus) => number): Sample[] =>
    listeners.map((one) => [{ listener: one.name }, pick(one)]);
  const byReason = (pick: (listener: ListenerStatus) => Readonly<Record<string, number>>): Sample[] =>
    listeners.flatMap((one) =>
      Object.entries(pick(one)).map(([reason, count]): Sample => [{ listener: one.name, reason }, count]),
    );
  return [
    family(
      "headrace_listener_connections",
      "gauge",
      "Connections of the listener that are open.",
      each(({ connections }) => connections),
    ),
    family(
      "headrace_listener_accepted_total",
      "counter",
      "Connections that the listener accepted.",
      each(({ accepted }) => accepted),
    ),
    family(
      "headrace_listener_refused_total",
      "counter",
      "Connections that ended before they had a session.",
      byReason(({ refused }) => refused),
    ),
    family(
      "headrace_listener_messages_total",
      "counter",
      "PUBLISH packets from clients (in) and to clients (out).",
      listeners.flatMap(({ name, messagesIn, messagesOut }) =>
        directions.flatMap((direction) =>
          (direction === "in" ? messagesIn : messagesOut).map(
            (count, qos): Sample => [{ listener: name, direction, qos: String(qos) }, count],
          ),
        ),
      ),
    ),
    family(
      "headrace_listener_bytes_total",
      "counter",
      "Bytes from clients (in) and to clients (out).",
      listeners.flatMap(({ name, bytesIn, bytesOut }): Sample[] => [
        [{ listener: name, direction: "in" }, bytesIn],
        [{ listener: name, direction: "out" }, bytesOut],
      ]),
    ),
    family(
      "headrace_listener_publish_refused_total",
      "counter",
      "Messages of clients that were refused.",
      byReason(({ publishRefused }) => publishRefused),
    ),
  ];
};

export const metricsText = (status: NodeStatus): string => {
  const one = (value: number): Sample[] => [[{}, value]];
  const perTask = (pick: (task: NodeStatus["tasks"][number]) => number): Sample[] =>
    status.tasks.map((task) => [{ task: task.name, function: task.function, stream: task.stream }, pick(task)]);
  return [
    family("headrace_connections", "gauge", "MQTT connections that are open.", one(status.connections)),
    ...listenerFamilies(status.listeners),
    family(
      "headrace_events_stored_total",
      "counter",
      "Events stored since the data folder was made.",
      status.streams.map(({ name, stored }) => [{ stream: name }, stored]),
    ),
    family(
      "headrace_events_repeated_total",
      "counter",
      "Repeats that were recognised, acknowledged and not stored again.",
      one(status.repeated),
    ),
    family(
      "headrace_events_refused_total",
      "counter",
      "Messages that were refused with a reason.",
      one(status.refused),
    ),
    family(
      "headrace_mqtt_reasons_total",
      "counter",
      "Refusals and ends by reason code or word.",
      Object.entries(status.gateway.reasons).map(([reason, count]) => [{ reason }, count]),
    ),
    family(
      "headrace_mqtt_dropped_total",
      "counter",
      "Deliveries that found no room at their subscriber.",
      one(status.gateway.dropped),
    ),
    family(
      "headrace_gateway_waiting_bytes",
      "gauge",
      "Bytes that are accepted and not durable.",
      one(status.gateway.waitingBytes),
    ),
    family(
      "headrace_mqtt_outgoing_bytes",
      "gauge",
      "Bytes that connected clients have not taken: in sockets, in flight, in queues.",
      one(status.gateway.outgoingBytes),
    ),
    family("headrace_mqtt_subscriptions", "gauge", "Subscriptions of all sessions.", one(status.gateway.subscriptions)),
    family("headrace_mqtt_retained_messages", "gauge", "Retained messages.", one(status.gateway.retainedMessages)),
    family(
      "headrace_mqtt_retained_bytes",
      "gauge",
      "Bytes of retained messages with their topics.",
      one(status.gateway.retainedBytes),
    ),
    family(
      "headrace_mqtt_match_nodes",
      "gauge",
      "Nodes that a topic may visit to find its subscribers, at most.",
      one(status.gateway.matchCost),
    ),
    family(
      "headrace_gateway_stalls_total",
      "counter",
      "How often an event loop of the gateway stood still for a second or more.",
      one(status.gateway.stalls),
    ),
    family(
      "headrace_gateway_stalled_milliseconds_total",
      "counter",
      "For how long the event loops of the gateway stood still altogether.",
      one(status.gateway.stalledMs),
    ),
    family(
      "headrace_gateway_restarts_total",
      "counter",
      "Gateway threads that were started again after they had died.",
      one(status.gateway.restarts),
    ),
    family(
      "headrace_connection_events_dropped_total",
      "counter",
      "Connections and ends that the stream connections does not have.",
      one(status.gateway.eventsDropped),
    ),
    family(
      "headrace_task_events_total",
      "counter",
      "Events that the task has committed.",
      perTask((task) => task.processed),
    ),
    family(
      "headrace_task_failures_total",
      "counter",
      "Events whose handler failed.",
      perTask((task) => task.failed),
    ),
    family(
      "headrace_task_lag_events",
      "gauge",
      "Events stored and not yet committed by the task.",
      perTask((task) => task.lagEvents),
    ),
    family(
      "headrace_task_lag_milliseconds",
      "gauge",
      "Age of the task's position.",
      perTask((task) => task.lagMs),
    ),
    family(
      "headrace_task_keys",
      "gauge",
      "Keys with state.",
      perTask((task) => task.keys),
    ),
    family(
      "headrace_task_state_bytes",
      "gauge",
      "Bytes of keys and values of the state as they are stored.",
      perTask((task) => task.stateBytes),
    ),
    family(
      "headrace_task_running",
      "gauge",
      "1 while the task runs, 0 while it restarts or its storage is damaged.",
      perTask((task) => (task.state === "running" ? 1 : 0)),
    ),
    family("headrace_alerts_active", "gauge", "Alerts that are raised.", one(status.alerts.active)),
    family(
      "headrace_commands_total",
      "counter",
      "Commands by what became of them, since this start.",
      (["sent", "acknowledged", "failed", "expired"] as const).map((state) => [{ state }, status.commands[state]]),
    ),
    family("headrace_commands_pending", "gauge", "Commands that wait for their device.", one(status.commands.pending)),
    family("headrace_lake_rows", "gauge", "Rows that a query sees.", one(status.lake.rows)),
    family("headrace_lake_bytes", "gauge", "Bytes of Parquet files.", one(status.lake.bytes)),
    family("headrace_lake_lag_rows", "gauge", "Stored events that no file covers yet.", one(status.lake.lagRows)),
    family("headrace_log_syncs_total", "counter", "Durable groups since this start.", one(status.log.syncs)),
    family("headrace_log_sync_milliseconds", "gauge", "Duration of the last 1,024 syncs.", [
      [{ quantile: "0.5" }, status.log.syncMsP50],
      [{ quantile: "0.99" }, status.log.syncMsP99],
    ]),
    family("headrace_log_wal_bytes", "gauge", "Bytes in the write-ahead log.", one(status.log.walBytes)),
    family("headrace_log_index_bytes", "gauge", "Memory of the index of all blocks.", one(status.log.indexBytes)),
  ].join("");
};
