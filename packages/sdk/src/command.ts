/** Commands to devices: names that carry the types of their arguments and results. */
import { checkName } from "./invalid.ts";

declare const types: unique symbol;

/** The name of a command, typed: a plain string at run time. */
export type Command<Args = unknown, Result = unknown> = string & { readonly [types]: readonly [Args, Result] };

interface CommandFacts<Args> {
  /** Stays the same when the command is sent again. */
  readonly id: string;
  readonly name: string;
  readonly args: Args;
  readonly device: string;
  /** In ms since the epoch. */
  readonly deadlineMs: number;
}

/** An event of `app.commands`. */
export type CommandEvent<Args = unknown, Result = unknown> = CommandFacts<Args> &
  (
    | { readonly status: "sent" }
    | { readonly status: "acknowledged"; readonly result?: Result }
    | { readonly status: "failed"; readonly error: string }
    | { readonly status: "expired" }
  );

/** Makes the typed name; {@link App.command} is what applications call. */
export function command<Args, Result>(name: string): Command<Args, Result> {
  checkName("command", name);
  return name as Command<Args, Result>;
}

/**
 * Whether a command's event belongs to this command; narrows its arguments and result.
 *
 * @example
 * ```ts
 * const fan = app("factory").command<{ on: boolean }, { rpm: number }>("fan");
 * const event = { id: "1", name: "fan", args: { on: true }, device: "p1", deadlineMs: 0, status: "sent" };
 * isCommand(event, fan); // => true
 * ```
 */
export const isCommand = <Args, Result>(
  event: CommandEvent,
  name: Command<Args, Result>,
): event is CommandEvent<Args, Result> => event.name === name;
