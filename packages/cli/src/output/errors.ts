/** How a failed command ends: two lines for people, one object for programs, and an exit code. */
import { errorCatalogue, HeadraceError } from "@headrace/sdk";
import { CommanderError } from "commander";

/** 0 is success. */
export const exitCodes = { failure: 1, usage: 2 } as const;

/** The caller wrote something that the command does not take: exit code 2. */
export class UsageError extends Error {}

/** The command has said all that there is to say; only its exit code is left. */
export class ExitWith extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

const internal = (error: unknown): { code: string; message: string; action: string } => ({
  code: "HR_INTERNAL",
  message: error instanceof Error ? error.message : String(error),
  action: errorCatalogue.HR_INTERNAL.action,
});

/** Prints the error to stderr and returns the exit code. */
export function reportError(error: unknown, asJson: boolean, write: (text: string) => void): number {
  if (error instanceof ExitWith) return error.exitCode;
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    // Commander has told people already.
    if (asJson)
      write(`${JSON.stringify({ error: { code: "usage", message: error.message.replace(/^error: /, "") } })}\n`);
    return exitCodes.usage;
  }
  if (error instanceof UsageError) {
    write(
      asJson
        ? `${JSON.stringify({ error: { code: "usage", message: error.message } })}\n`
        : `headrace: ${error.message}\n`,
    );
    return exitCodes.usage;
  }
  const { code, message, action } = error instanceof HeadraceError ? error : internal(error);
  write(
    asJson
      ? `${JSON.stringify({ error: { code, message, action } })}\n`
      : `headrace: ${message}\n  ${action}  [${code}]\n`,
  );
  return exitCodes.failure;
}
