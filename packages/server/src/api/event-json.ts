/** Stored events as JSON text. A JSON payload is passed on as it came, so that no number changes on the way. */
import type { StoredEvent } from "./stream-reader.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The payload as one line of JSON; undefined when it is no JSON. */
export function jsonOf(payload: Uint8Array): string | undefined {
  try {
    const text = decoder.decode(payload);
    JSON.parse(text);
    // A line end in valid JSON stands between tokens only.
    return text.replace(/[\r\n]+/g, " ").trim();
  } catch {
    return undefined;
  }
}

/** The event as one line of JSON: with `value` when the payload is JSON, else with `payload` in base64. */
export function eventJson(event: StoredEvent): string {
  const { payload, ...rest } = event;
  const value = jsonOf(payload);
  const head = JSON.stringify(rest).slice(0, -1);
  return value === undefined
    ? `${head},"payload":${JSON.stringify(Buffer.from(payload).toString("base64"))}}`
    : `${head},"value":${value}}`;
}
