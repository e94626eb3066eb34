/** How long a stream keeps its events. */
import type { RetainDefinition } from "./definition.ts";
import { invalid } from "./invalid.ts";
import { type ByteSize, byteSize, type Duration, durationMs } from "./units.ts";

export const dayMs = 86_400_000;

/** Seven days: long enough to look into last week's incident, short enough for a small disk. */
export const retainDefault = { ageMs: 7 * dayMs };

/** What is kept: at most this age, at most these bytes, whichever ends first. */
export type Retain = Duration | { readonly age?: Duration; readonly bytes?: ByteSize };

export function retainDefinition(retain: Retain | undefined): RetainDefinition {
  if (retain === undefined) return retainDefault;
  if (typeof retain === "string") return { ageMs: durationMs(retain) };
  const { age, bytes } = retain;
  if (age === undefined && bytes === undefined) throw invalid("retain {}: give age, bytes or both");
  return { ...(age && { ageMs: durationMs(age) }), ...(bytes && { bytes: byteSize(bytes) }) };
}
