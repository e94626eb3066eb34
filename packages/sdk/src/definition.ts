/**
 * The definition that an application file builds: plain data plus the user's functions.
 * The authoring API (app.ts) writes it with types; engine, server and testkit read it.
 * It is structural on purpose: an application bundled with its own copy of the sdk is read all the same.
 */
import type { StandardSchema } from "./standard-schema.ts";

/** Where a stream's events come from. `pattern` is an MQTT topic filter whose `:name` levels are parameters; the last may be `#`. */
export interface SourceDefinition {
  readonly kind: "mqtt" | "http";
  readonly pattern: string;
}

/** A column that the lake extracts from the JSON payload, beside the columns that every stream has. */
export interface ColumnDefinition {
  readonly name: string;
  readonly type: "double" | "bigint" | "varchar" | "boolean" | "json";
}

export interface RetainDefinition {
  readonly ageMs?: number;
  readonly bytes?: number;
}

/** What a stream's key is, when it is not the device: a topic parameter or a header. */
export type KeyDefinition = { readonly param: string } | { readonly header: string };

export interface StreamDefinition {
  readonly name: string;
  /** Empty for a derived stream. */
  readonly sources: readonly SourceDefinition[];
  readonly schema?: StandardSchema;
  /** Number of partitions, 1 to 256; default 1. */
  readonly partitions: number;
  /** What is kept; default 7 days. */
  readonly retain: RetainDefinition;
  /** `source` is written by gateways, `derived` by tasks. */
  readonly kind: "source" | "derived";
  /** True for the built-in streams: rejected, dead-letters, alerts, commands, command-acks, connections, mqtt. */
  readonly system: boolean;
  readonly columns: readonly ColumnDefinition[];
  /** Table semantics: a window's result with `windowStart`, `windowEnd`, `revision`, `op` in its payload; queries return the newest revision of each key and window. */
  readonly table: boolean;
  /** Field of the payload with the event time in ms since the epoch or ISO 8601; absent: arrival time. */
  readonly timeField?: string;
  /** Absent: the device. */
  readonly key?: KeyDefinition;
}

/** Called once per event; a thenable result makes the invocation asynchronous. */
export type Handler = (event: never, context: never) => unknown;

/** Bounds of a function's state; absent fields have their defaults. */
export interface StateDefinition {
  /** Absent: keys stay. */
  readonly ttlMs?: number;
  /** Default 64 KiB. */
  readonly bytesPerKey?: number;
  /** Default 512 MiB. */
  readonly bytesPerTask?: number;
}

export interface FunctionDefinition {
  readonly name: string;
  /** Name of the stream it handles. */
  readonly on: string;
  /** Makes the state of a key that has none; absent for a stateless function. */
  readonly state?: () => unknown;
  readonly stateLimits?: StateDefinition;
  readonly handler: Handler;
  /** Names of the derived streams it may emit to. */
  readonly emits: readonly string[];
  readonly onFailure: "skip";
  /** Asynchronous invocations at once over all keys, 1 to 10,000; default 64. */
  readonly concurrency: number;
}

export type AggregateDefinition =
  | { readonly kind: "count" }
  | { readonly kind: "sum" | "mean" | "min" | "max"; readonly field: string };

/** A tumbling window per key over a stream, whose results go to a table stream. */
export interface WindowDefinition {
  /** Name of the task, `<stream>.<table>`. */
  readonly name: string;
  readonly on: string;
  readonly kind: "tumbling";
  readonly sizeMs: number;
  /** Field of the payload with the event time in ms since the epoch or ISO 8601; absent: arrival time. */
  readonly timeField?: string;
  readonly latenessMs: number;
  readonly idleAfterMs: number;
  readonly aggregates: Readonly<Record<string, AggregateDefinition>>;
  readonly table: string;
}

export interface AppDefinition {
  readonly name: string;
  readonly streams: readonly StreamDefinition[];
  readonly functions: readonly FunctionDefinition[];
  readonly windows: readonly WindowDefinition[];
}

/** Streams that every application has, by name. */
export const systemStreams = {
  /** Events that do not parse or break the schema: `{stream, reason, issues?, payload (text or base64), device, sequence…}`. */
  rejected: "rejected",
  /** Events whose handler failed: payload, stack, state before. */
  deadLetters: "dead-letters",
  /** Alert life cycle: raised, updated, cleared. */
  alerts: "alerts",
  /** Command life cycle: sent, acknowledged, failed, expired. */
  commands: "commands",
  /** What devices publish on `devices/+/commands/+/ack`. */
  acknowledgements: "command-acks",
  /** MQTT clients as they connect and disconnect. */
  connections: "connections",
  /** QoS 1 messages whose topic feeds no stream. */
  mqtt: "mqtt",
} as const;
