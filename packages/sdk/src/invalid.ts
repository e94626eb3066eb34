/** What a definition refuses, always with the value that it refuses. */
import { HeadraceError } from "./errors.ts";

/** The error of a definition that cannot be accepted. */
export const invalid = (message: string): HeadraceError => new HeadraceError("HR_APP_INVALID", message);

/** Checks the name of an application, stream, function or table. */
export function checkName(what: string, name: string): void {
  if (!/^[a-z][a-z0-9_-]{0,63}$/.test(name)) {
    throw invalid(`${what} name ${JSON.stringify(name)}: use 1 to 64 of a-z, 0-9, "_" and "-", starting with a letter`);
  }
}

/** Checks a whole number against its range and returns it. */
export function checkRange(what: string, value: number, minimum: number, maximum: number): number {
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw invalid(`${what} ${value}: use a whole number from ${minimum} to ${maximum}`);
  }
  return value;
}
