/** The streams that every application has, and the events in them. */
import type { Severity } from "./context.ts";
import { type ColumnDefinition, type StreamDefinition, systemStreams } from "./definition.ts";
import { dayMs, retainDefault } from "./retain.ts";
import type { ValidationIssue } from "./standard-schema.ts";

/** An event of `app.alerts`; `key` and `name` identify the alert. */
export interface AlertEvent {
  readonly name: string;
  readonly status: "raised" | "updated" | "cleared";
  readonly severity: Severity;
  /** When it was raised, in ms since the epoch. */
  readonly raisedAtMs: number;
  /** What the handler gave, without the severity; of the last raise when cleared. */
  readonly details: Readonly<Record<string, unknown>>;
  /** The function that raised it. */
  readonly function: string;
}

/** An event of `app.rejected`: it was stored and acknowledged, but does not parse or breaks the schema. */
export interface RejectedEvent {
  readonly stream: string;
  readonly reason: "json" | "schema";
  readonly message: string;
  readonly issues?: readonly ValidationIssue[];
  /** As text; as base64 when it is not UTF-8. */
  readonly payload: string;
  readonly encoding: "utf8" | "base64";
  readonly topic: string;
  /** Where the stream keeps the event. */
  readonly position: string;
}

/** An event of `app.deadLetters`: a handler failed on it, all attempts are used up, and its key went on. */
export interface DeadLetterEvent {
  readonly function: string;
  readonly stream: string;
  readonly error: { readonly name: string; readonly message: string; readonly stack?: string };
  readonly payload: string;
  readonly encoding: "utf8" | "base64";
  readonly topic: string;
  /** The key's state before the event, as JSON; absent for a stateless function. */
  readonly stateBefore?: unknown;
  readonly attempts: number;
  readonly position: string;
}

function system(
  name: string,
  columns: Readonly<Record<string, ColumnDefinition["type"]>>,
  rest: Partial<StreamDefinition> = {},
): StreamDefinition {
  return {
    name,
    sources: [],
    partitions: 1,
    retain: retainDefault,
    kind: "derived",
    system: true,
    table: false,
    columns: Object.entries(columns).map(([name, type]) => ({ name, type })),
    ...rest,
  };
}

/** Definitions of the built-in streams, part of every application. */
export const systemStreamDefinitions: readonly StreamDefinition[] = [
  system(systemStreams.rejected, { stream: "varchar", reason: "varchar", message: "varchar" }),
  system(systemStreams.deadLetters, { function: "varchar", stream: "varchar", error: "json" }),
  system(systemStreams.alerts, { name: "varchar", status: "varchar", severity: "varchar", details: "json" }),
  system(systemStreams.commands, { id: "varchar", name: "varchar", status: "varchar", args: "json", result: "json" }),
  system(
    systemStreams.acknowledgements,
    { ok: "boolean", result: "json", error: "varchar" },
    { kind: "source", sources: [{ kind: "mqtt", pattern: "devices/:device/commands/:id/ack" }] },
  ),
  // Whatever no stream asked for: kept for a day, to be looked at.
  system(systemStreams.mqtt, {}, { kind: "source", retain: { ageMs: dayMs } }),
];
