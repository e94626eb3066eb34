/** Rows as an aligned table and as CSV. */
import { oneLine } from "./text.ts";

const cellWidthMax = 60;

const cut = (text: string): string => (text.length > cellWidthMax ? `${text.slice(0, cellWidthMax - 1)}…` : text);

/**
 * A table for people: numbers to the right, long cells cut.
 *
 * @example
 * ```ts
 * table(["n"], [[1], [20]]); // => " n\n--\n 1\n20"
 * ```
 */
export function table(columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = rows.map((row) => row.map((value) => cut(oneLine(value))));
  const widths = columns.map((name, column) => Math.max(name.length, ...cells.map((row) => row[column]?.length ?? 0)));
  const numeric = columns.map(
    (_, column) => rows.every((row) => row[column] === null || typeof row[column] === "number") && rows.length > 0,
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (numeric[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join("  ")
      .trimEnd();
  return [line(columns), widths.map((width) => "-".repeat(width)).join("  "), ...cells.map(line)].join("\n");
}

/** What spreadsheets take for a formula; a leading apostrophe makes it text (OWASP, CSV injection). */
const formula = /^[=+\-@\t\r]/;

function csvCell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  let text = typeof value === "string" ? value : JSON.stringify(value);
  // Integers beyond 2^53 and decimals come as text and stay numbers.
  if (formula.test(text) && !/^-?\d+(\.\d+)?$/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** RFC 4180, with text that a spreadsheet would run as a formula made harmless. */
export const csv = (columns: readonly string[], rows: readonly (readonly unknown[])[]): string =>
  [columns, ...rows].map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");
