/** From an application's outline to tasks and the logs that they read and write. */
import { type AppDefinition, systemStreams } from "@headrace/sdk";
import type { LogRole } from "../log/port.ts";
import { failureStreams } from "./commit-builder.ts";

/** What planning needs of an application: its definition fits, and so does what crosses threads. */
export interface PlanOutline {
  readonly streams: readonly (Pick<AppDefinition["streams"][number], "name" | "kind" | "partitions"> & {
    readonly hasSchema: boolean;
  })[];
  readonly functions: readonly Pick<AppDefinition["functions"][number], "name" | "on" | "emits">[];
  readonly windows: readonly Pick<AppDefinition["windows"][number], "name" | "on" | "table">[];
}

export type TaskKind = "function" | "window" | "check";

export interface TaskPlan {
  /** `<function>/<partition>`: names the journal and the snapshots. */
  readonly name: string;
  readonly functionName: string;
  readonly kind: TaskKind;
  readonly stream: string;
  readonly partition: number;
  readonly partitions: number;
  /** Streams that it writes beside effects. */
  readonly outputs: readonly string[];
  /** True for the one task of its stream that reports what does not pass. */
  readonly reportsRejected: boolean;
}

/** Name of a stream's log. A derived stream has one log for all partitions, with a channel per producing task. */
export const streamLog = (stream: string, partition: number): string => `stream/${stream}/${partition}`;
export const journalLog = (task: string): string => `journal/${task}`;
export const effectsLog = "effects/0";
export const roleOf = (logName: string): LogRole =>
  logName.startsWith("stream/") ? "stream" : logName.startsWith("journal/") ? "journal" : "effects";

/** Logs of a stream that the task of `partition` reads. */
export const inputLogs = (outline: PlanOutline, stream: string, partition: number): string[] => {
  const definition = outline.streams.find((candidate) => candidate.name === stream);
  return [streamLog(stream, definition?.kind === "derived" ? 0 : partition)];
};

/** All tasks of an application, in a stable order. */
export const planTasks = (outline: PlanOutline): TaskPlan[] => {
  const plans: TaskPlan[] = [];
  const reporting = new Set<string>();
  const add = (functionName: string, kind: TaskKind, stream: string, outputs: readonly string[]): void => {
    const definition = outline.streams.find((candidate) => candidate.name === stream);
    const partitions = definition?.partitions ?? 1;
    // What a failing task writes must not come back to it: a handler of rejected or dead letters reports neither.
    const isFailureStream = (failureStreams as readonly string[]).includes(stream);
    const reportsRejected = !isFailureStream && !reporting.has(stream);
    reporting.add(stream);
    for (let partition = 0; partition < partitions; partition++) {
      plans.push({
        name: `${functionName}/${partition}`,
        functionName,
        kind,
        stream,
        partition,
        partitions,
        outputs: [...outputs, ...failureStreams],
        reportsRejected,
      });
    }
  };
  for (const { name, on, emits } of outline.functions) add(name, "function", on, emits);
  for (const { name, on, table } of outline.windows) add(name, "window", on, [table]);
  // A schema that nobody's function would check is checked all the same.
  for (const stream of outline.streams)
    if (stream.hasSchema && stream.kind === "source" && !reporting.has(stream.name))
      add(`check.${stream.name}`, "check", stream.name, []);
  return plans;
};

/** Names of the outbox: the system task that sends effects. */
export const outboxTask = {
  name: "outbox/0",
  functionName: "outbox",
  outputs: [systemStreams.alerts, systemStreams.commands, ...failureStreams],
} as const;
