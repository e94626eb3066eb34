/** References to streams: a name at run time; at compile time the types of values and parameters. */
import type { SourceDefinition } from "./definition.ts";
import type { FieldOf } from "./fields.ts";
import type { Retain } from "./retain.ts";
import type { Source, SourceParams } from "./source.ts";
import type { StandardSchema } from "./standard-schema.ts";
import type { Aggregates, RowOf, Tumbling } from "./window.ts";

/** A stream by name. */
export interface Stream<Value = unknown, Params = unknown> {
  readonly name: string;
  /** Type only: never present. */
  readonly "~types"?: { readonly value: Value; readonly params: Params };
}

/** The type of a stream's values. */
export type ValueOf<S> = S extends Stream<infer Value, infer _Params> ? Value : never;

/** A stream of this application, as {@link App.stream} returns it. */
export interface StreamRef<Value = unknown, Params = unknown> extends Stream<Value, Params> {
  /** Cuts the events of each key into windows, to be aggregated into a table. */
  window(spec: Tumbling<FieldOf<Value>>): Windowed<Value>;
}

/** A stream cut into windows. */
export interface Windowed<Value> {
  /** Names the columns of the result and what fills them. */
  aggregate<const A extends Aggregates<Value>>(aggregates: A): Aggregated<A>;
}

/** Windows with their aggregates. */
export interface Aggregated<A> {
  /** Writes the results to the table `name`, which is a stream too. Kept 7 days unless `retain` says otherwise. */
  table(name: string, options?: { readonly retain?: Retain }): StreamRef<RowOf<A>, Record<never, string>>;
}

/** Options of {@link App.stream}. */
export interface StreamOptions<Value, From> {
  /** Where its events come from; without it the stream is derived: functions emit to it. */
  readonly from?: From;
  /** Any Standard Schema validator. What breaks it goes to `app.rejected`. Without it the value is unknown JSON. */
  readonly schema?: StandardSchema<unknown, Value>;
  /** 1 to 256, default 1. Order holds inside a partition; work spreads over them. */
  readonly partitions?: number;
  /** Default `"7d"`. */
  readonly retain?: Retain;
  /** The field with the event's time, in ms since the epoch or ISO 8601; default is arrival time. */
  readonly time?: { readonly field: FieldOf<NoInfer<Value>> };
  /** What state and order are kept per: a topic parameter, or a header. Default is the device. */
  readonly key?: (keyof SourceParams<NoInfer<From>> & string) | { readonly header: string };
}

export type AnySource = Source | readonly Source[];

export function sourceDefinitions(from: AnySource | undefined): readonly SourceDefinition[] {
  return [from ?? []].flat().map(({ kind, pattern }) => ({ kind, pattern }));
}
