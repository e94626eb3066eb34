/** Text from devices and databases on a terminal: without control characters, which could rewrite what stands there. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is removed
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** The text with each control character replaced by a visible sign. */
export const safe = (text: string): string => text.replace(controls, "\ufffd");

/** The text with each control character as JSON writes it: for names that somebody has to type again. */
export const escaped = (text: string): string =>
  text.replace(controls, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A value as one line of text. */
export const oneLine = (value: unknown): string =>
  safe(typeof value === "string" ? value : value === null || value === undefined ? "" : JSON.stringify(value));

/** 12,345: grouped by thousands. */
export const grouped = (value: number): string => Math.round(value).toLocaleString("en-US");

/** 1.2 ms, 35 ms, 4.1 s. */
export function milliseconds(value: number): string {
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
