/** headrace status: what the node runs and how it is doing. */
import type { NodeStatus } from "@headrace/server";
import type { Command } from "commander";
import type { ConnectionOptions } from "../client/connection.ts";
import { table } from "../output/table.ts";
import { grouped, milliseconds, oneLine } from "../output/text.ts";
import { clientOf, examples, type Output, withConnection } from "./options.ts";

/** The status for people. */
export function statusText(status: NodeStatus): string {
  const { alerts, commands, lake, log, tasks, streams } = status;
  const facts: [string, string][] = [
    ["application", oneLine(status.application)],
    ["version", status.version],
    ["running since", new Date(status.startedAtMs).toISOString()],
    ["data folder", status.dataFolder],
    ["MQTT", status.mqttUrl],
    ["API", status.apiUrl],
    ["connections", grouped(status.connections)],
    ["stored", `${grouped(status.stored)} (${grouped(status.repeated)} repeats, ${grouped(status.rejected)} rejected)`],
    ["processed", grouped(status.processed)],
    ["refused", grouped(status.refused)],
    ["alerts", `${alerts.active} active, ${alerts.raised} raised, ${alerts.cleared} cleared`],
    [
      "commands",
      `${commands.sent} sent, ${commands.acknowledged} acknowledged, ${commands.pending} pending, ${commands.failed} failed, ${commands.expired} expired`,
    ],
    [
      "lake",
      `${grouped(lake.rows)} rows in ${grouped(lake.files)} files, ${grouped(lake.bytes)} bytes, ${grouped(lake.lagRows)} rows behind`,
    ],
    [
      "log",
      `sync p50 ${milliseconds(log.syncMsP50)}, p99 ${milliseconds(log.syncMsP99)}, ${grouped(log.walBytes)} bytes write-ahead`,
    ],
  ];
  for (const { log: name, fromSequence, toSequence, timeMs } of log.gaps)
    facts.push([
      "lost",
      `${oneLine(name)}: records ${fromSequence} to ${toSequence - 1}, accepted ${new Date(timeMs).toISOString()}`,
    ]);
  const width = Math.max(...facts.map(([name]) => name.length));
  const taskRows = tasks.map(({ name, state, processed, failed, lagEvents, lagMs, keys }) => [
    name,
    state,
    processed,
    failed,
    lagEvents,
    Math.round(lagMs),
    keys,
  ]);
  return [
    ...facts.map(([name, value]) => `${name.padEnd(width)}  ${value}`),
    "",
    table(
      ["stream", "partitions", "stored"],
      streams.map(({ name, partitions, stored }) => [name, partitions, stored]),
    ),
    "",
    table(["task", "state", "processed", "failed", "lag", "lag ms", "keys"], taskRows),
    "",
  ].join("\n");
}

export function addStatus(program: Command, { out }: Output): void {
  withConnection(program.command("status"))
    .summary("show what the node does")
    .description("Shows streams, tasks, lag, alerts, commands, lake and log of the running node.")
    .option("--json", "print the status as one JSON object")
    .addHelpText("after", examples("headrace status", "headrace status --json --data /var/lib/headrace"))
    .action(async (options: ConnectionOptions & { json?: boolean }) => {
      const status = await clientOf(options).get<NodeStatus>("/v1/status");
      out(options.json ? `${JSON.stringify(status)}\n` : statusText(status));
    });
}
