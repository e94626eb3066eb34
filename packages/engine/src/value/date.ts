/** Date as a value that devices and states hold. Never a clock: the engine's time is an argument. */

export const isDate = (value: unknown): value is Date => value instanceof Date;

export const dateOf = (timeMs: number): Date => new Date(timeMs);

/** Milliseconds since the epoch of an ISO 8601 text; undefined when it is none. */
export const parseTime = (text: string): number | undefined => {
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) ? undefined : timeMs;
};
