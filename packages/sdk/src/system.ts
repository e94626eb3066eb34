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

/** An event of `app.connections`; the device is the client's identity, else its client id, and `event.client` its client id. */
export type ConnectionEvent =
  | {
      readonly status: "connected";
      /** The client's IP address. */
      readonly address: string;
      /** Transport and port of the node: `tcp:1883`. */
      readonly listener: string;
      readonly protocol: "3.1.1" | "5.0";
      readonly identity?: string;
      readonly cleanStart: boolean;
      /** 0: the session ends with the connection. */
      readonly sessionExpirySeconds: number;
      /** As it is in force. */
      readonly keepAliveSeconds: number;
    }
  | {
      readonly status: "disconnected";
      readonly address: string;
      readonly listener: string;
      readonly protocol: "3.1.1" | "5.0";
      readonly identity?: string;
      readonly sessionExpirySeconds: number;
      /** `client`: it said DISCONNECT; `node`: it was ended here; `network`: neither said anything. */
      readonly endedBy: "client" | "node" | "network";
      /** Of MQTT 5.0, also for 3.1.1; absent for `network`. */
      readonly reasonCode?: number;
      readonly reason: string;
      readonly durationMs: number;
      readonly messagesIn: number;
      readonly messagesOut: number;
      readonly bytesIn: number;
      readonly bytesOut: number;
    }
  /** So many were not recorded, because there were too many at once or the disk was full; the device is empty. */
  | { readonly status: "dropped"; readonly count: number };

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
  system(
    systemStreams.connections,
    {
      status: "varchar",
      endedBy: "varchar",
      reasonCode: "bigint",
      reason: "varchar",
      address: "varchar",
      listener: "varchar",
      protocol: "varchar",
      cleanStart: "boolean",
      sessionExpirySeconds: "bigint",
      keepAliveSeconds: "bigint",
      durationMs: "bigint",
      messagesIn: "bigint",
      messagesOut: "bigint",
      bytesIn: "bigint",
      bytesOut: "bigint",
      count: "bigint",
    },
    { kind: "source", retain: { ageMs: 7 * dayMs } },
  ),
  // Whatever no stream asked for: kept for a day, to be looked at.
  system(systemStreams.mqtt, {}, { kind: "source", retain: { ageMs: dayMs } }),
];
