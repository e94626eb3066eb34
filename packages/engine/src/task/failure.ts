/** What is told of an event that failed or was refused. */
import { viewOf } from "../block/header.ts";
import { isDate } from "../value/date.ts";
import { encodeJson } from "./json-text.ts";

export const positionText = (header: { logId: number; writer: number }, sequence: number): string =>
  `${header.logId}/${header.writer}/${sequence}`;

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";

const errorTextMax = 8 * 1024;

/** An error, or whatever was thrown, as data; a getter that throws is survived. */
export const describeError = (error: unknown): { name: string; message: string; stack?: string } => {
  try {
    if (error instanceof Error)
      return {
        name: String(error.name),
        message: String(error.message).slice(0, errorTextMax),
        ...(error.stack && { stack: String(error.stack).slice(0, errorTextMax) }),
      };
    return {
      name: "thrown value",
      message: (typeof error === "string" ? error : (JSON.stringify(error) ?? String(error))).slice(0, errorTextMax),
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

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Base64 without help from a platform. */
const base64 = (bytes: Uint8Array): string => {
  const view = viewOf(bytes);
  let text = "";
  for (let at = 0; at < bytes.byteLength; at += 3) {
    const left = bytes.byteLength - at;
    const three =
      (view.getUint8(at) << 16) |
      ((left > 1 ? view.getUint8(at + 1) : 0) << 8) |
      (left > 2 ? view.getUint8(at + 2) : 0);
    text +=
      digits[three >>> 18] +
      digits[(three >>> 12) & 63] +
      (left > 1 ? digits[(three >>> 6) & 63] : "=") +
      (left > 2 ? digits[three & 63] : "=");
  }
  return text;
};

/** Bytes as text when they are UTF-8, else as base64. */
export const payloadText = (bytes: Uint8Array): { payload: string; encoding: "utf8" | "base64" } => {
  try {
    return { payload: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes), encoding: "utf8" };
  } catch {
    return { payload: base64(bytes), encoding: "base64" };
  }
};

/** Holds the base64 of the largest packet that a gateway takes by default, and what stands around it. */
const failureBytesMax = 360 * 1024;
const payloadKeptMax = 64 * 1024;

/**
 * What is told of a failure, as JSON; never fails. What makes it too large is left out: first the text of the payload gives way to base64 and
 * the state is dropped, then the payload is cut (`payloadCutFrom` says how long it was). The event itself stays in its stream.
 */
export const failureJson = (
  fields: Readonly<Record<string, unknown>>,
  payload: Uint8Array,
  extras: () => Readonly<Record<string, unknown>> = () => ({}),
): Uint8Array => {
  const encoded = { payload: "", encoding: "base64" };
  const attempts = [
    () => ({ ...fields, ...payloadText(payload), ...extras() }),
    () => ({ ...fields, ...encoded, payload: base64(payload) }),
  ];
  for (const attempt of attempts) {
    try {
      return encodeJson(attempt(), failureBytesMax);
    } catch {
      // The next one says less.
    }
  }
  const kept = base64(payload.subarray(0, payloadKeptMax));
  return encodeJson({ ...fields, ...encoded, payload: kept, payloadCutFrom: payload.byteLength }, failureBytesMax);
};
