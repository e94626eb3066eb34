/** Windows: events of a key per span of time, aggregated into the rows of a table. */
import type { AggregateDefinition } from "./definition.ts";
import type { NumericFieldOf } from "./fields.ts";
import { type Duration, durationMs } from "./units.ts";

/** A tumbling window; `TimeField` is the payload field that it takes the time from. */
export interface Tumbling<TimeField extends string = never> {
  readonly kind: "tumbling";
  readonly sizeMs: number;
  readonly latenessMs: number;
  readonly idleAfterMs: number;
  readonly timeField?: TimeField;
}

/** Options of {@link tumbling}. */
export interface TumblingOptions<TimeField extends string = never> {
  /** How much later than its time an event may come and still be in the first result; default none. Later ones make a revision. */
  readonly lateness?: Duration;
  /** A window of a silent key closes when the arrival clock is past its end, `lateness` and this; default `"10s"`. */
  readonly idleAfter?: Duration;
  /** The payload field with the time; default is what the stream says, else arrival. */
  readonly timeField?: TimeField;
}

/**
 * Windows of one size, side by side, aligned to the epoch.
 *
 * @throws HeadraceError `HR_APP_INVALID` for a duration that cannot be read.
 * @example
 * ```ts
 * tumbling("1m", { lateness: "5s" }); // => { kind: "tumbling", sizeMs: 60_000, latenessMs: 5_000, idleAfterMs: 10_000 }
 * ```
 */
export function tumbling<const TimeField extends string = never>(
  size: Duration,
  { lateness, idleAfter, timeField }: TumblingOptions<TimeField> = {},
): Tumbling<TimeField> {
  return {
    kind: "tumbling",
    sizeMs: durationMs(size),
    latenessMs: lateness === undefined ? 0 : durationMs(lateness),
    idleAfterMs: durationMs(idleAfter ?? "10s"),
    ...(timeField !== undefined && { timeField }),
  };
}

/** An aggregate over one numeric field; `never` for one that needs no field. */
export type Aggregate<Field extends string = never> = AggregateDefinition & { readonly "~field"?: Field };

/** How many events the window holds. */
export const count = (): Aggregate => ({ kind: "count" });
/** The sum of a numeric field. */
export const sum = <const Field extends string>(field: Field): Aggregate<Field> => ({ kind: "sum", field });
/** The arithmetic mean of a numeric field. */
export const mean = <const Field extends string>(field: Field): Aggregate<Field> => ({ kind: "mean", field });
/** The least value of a numeric field. */
export const min = <const Field extends string>(field: Field): Aggregate<Field> => ({ kind: "min", field });
/** The greatest value of a numeric field. */
export const max = <const Field extends string>(field: Field): Aggregate<Field> => ({ kind: "max", field });

/** Columns that every window's row has. */
export interface WindowRow {
  /** Start of the window, inclusive, in ms since the epoch. */
  readonly windowStart: number;
  /** End of the window, exclusive, in ms since the epoch. */
  readonly windowEnd: number;
  /** 1 for the first result; later events make a higher one, and the highest counts. */
  readonly revision: number;
  readonly op: "upsert" | "retract";
}

/** Aggregates by the column that they fill. */
export type Aggregates<Value> = Readonly<Record<string, Aggregate<NumericFieldOf<Value>>>> & {
  readonly [Name in keyof WindowRow]?: never;
};

/** A row of the table that a window fills. */
export type RowOf<A> = WindowRow & { readonly [Name in keyof A]: number };
