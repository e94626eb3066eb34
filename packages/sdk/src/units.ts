/** Durations and sizes as people write them; inside Headrace they are numbers with the unit in the name. */
import { invalid } from "./invalid.ts";

/** `500ms`, `10s`, `1m`, `12h`, `30d`. */
export type Duration = `${number}${keyof typeof unitMs}`;

/** `512MiB`, `10GB`: decimal (KB, MB, GB, TB) and binary (KiB, MiB, GiB, TiB) units. */
export type ByteSize = `${number}${keyof typeof unitBytes}`;

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const unitBytes = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

function parse(text: string, units: Readonly<Record<string, number>>, what: string): number {
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]+)$/.exec(text);
  const unit = match && Object.hasOwn(units, match[2]!) ? units[match[2]!] : undefined;
  const result = Math.round(Number(match?.[1]) * (unit ?? Number.NaN));
  if (!Number.isSafeInteger(result) || result <= 0) {
    throw invalid(`${what} ${JSON.stringify(text)}: write a number and one of ${Object.keys(units).join(", ")}`);
  }
  return result;
}

/**
 * Milliseconds of a duration such as `"10s"`; always positive.
 *
 * @throws HeadraceError `HR_APP_INVALID` for anything else.
 * @example
 * ```ts
 * durationMs("10s"); // => 10_000
 * durationMs("1.5h"); // => 5_400_000
 * ```
 */
export const durationMs = (text: Duration | (string & {})): number => parse(text, unitMs, "duration");

/**
 * Bytes of a size such as `"10GB"` or `"512MiB"`; always positive.
 *
 * @throws HeadraceError `HR_APP_INVALID` for anything else.
 * @example
 * ```ts
 * byteSize("10GB"); // => 10_000_000_000
 * byteSize("512MiB"); // => 536_870_912
 * ```
 */
export const byteSize = (text: ByteSize | (string & {})): number => parse(text, unitBytes, "size");
