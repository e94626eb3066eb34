/** DuckDB's values as JSON. */
import {
  DuckDBArrayValue,
  DuckDBBlobValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBUnionValue,
  type DuckDBValue,
} from "@duckdb/node-api";

const isoOf = (micros: bigint): string => {
  const ms = Number(micros / 1000n);
  const rest = Number(micros % 1000n);
  const date = new Date(rest < 0 ? ms - 1 : ms);
  // Infinity, or a year that Date cannot hold.
  if (Number.isNaN(date.getTime())) return `${micros > 0n ? "" : "-"}infinity`;
  const iso = date.toISOString();
  return rest === 0 ? iso : `${iso.slice(0, -1)}${String(rest < 0 ? rest + 1000 : rest).padStart(3, "0")}Z`;
};

const keyOf = (key: unknown): string => (typeof key === "string" ? key : JSON.stringify(key));

/**
 * A value that JSON can carry: integers as numbers while they are exact, else as text; timestamps as ISO 8601 in UTC;
 * decimals as numbers; blobs in base64; lists, structs and maps as arrays and objects; NaN and infinity as text; the rest as DuckDB prints it.
 */
export const jsonValue = (value: DuckDBValue): unknown => {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (value instanceof DuckDBTimestampTZValue || value instanceof DuckDBTimestampValue) return isoOf(value.micros);
  if (value instanceof DuckDBTimestampMillisecondsValue) return isoOf(value.millis * 1000n);
  if (value instanceof DuckDBTimestampSecondsValue) return isoOf(value.seconds * 1_000_000n);
  if (value instanceof DuckDBTimestampNanosecondsValue) return isoOf(value.nanos / 1000n);
  if (value instanceof DuckDBDecimalValue) return value.toDouble();
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue) return value.items.map(jsonValue);
  if (value instanceof DuckDBStructValue)
    return Object.fromEntries(Object.entries(value.entries).map(([key, inner]) => [key, jsonValue(inner)]));
  if (value instanceof DuckDBMapValue)
    return Object.fromEntries(value.entries.map(({ key, value: inner }) => [keyOf(jsonValue(key)), jsonValue(inner)]));
  if (value instanceof DuckDBUnionValue) return jsonValue(value.value);
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString("base64");
  return String(value);
};
