/** What is told of an event that failed or was refused. */
import { isDate } from "../value/date.ts";

export const positionText = (header: { logId: number; writer: number }, sequence: number): string =>
  `${header.logId}/${header.writer}/${sequence}`;

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";

/** An error, or whatever was thrown, as data; a getter that throws is survived. */
export const describeError = (error: unknown): { name: string; message: string; stack?: string } => {
  try {
    if (error instanceof Error)
      return {
        name: String(error.name),
        message: String(error.message),
        ...(error.stack && { stack: String(error.stack) }),
      };
    return {
      name: "thrown value",
      message: typeof error === "string" ? error : (JSON.stringify(error) ?? String(error)),
    };
  } catch {
    return { name: "thrown value", message: "a value that cannot be described" };
  }
};

/** A state value for people: Map and Set become arrays of their content. */
export const jsonView = (value: unknown): unknown => {
  if (value instanceof Map) return [...value].map(([key, item]) => [jsonView(key), jsonView(item)]);
  if (value instanceof Set) return [...value].map(jsonView);
  if (ArrayBuffer.isView(value)) return Array.from(value as Uint8Array);
  if (Array.isArray(value)) return value.map(jsonView);
  if (typeof value === "object" && value !== null && !isDate(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, jsonView(item)]));
  }
  return value;
};
