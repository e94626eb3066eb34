/** From a user's function to a task's handlers: the event and context of the authoring API over an invocation. */
import { durationMs, type FunctionDefinition, HeadraceError, type Severity } from "@headrace/sdk";
import type { Invocation, TaskEvent, TaskHandlers } from "./spec.ts";

/** Takes what handlers log. */
export type LogSink = (entry: {
  level: string;
  message: string;
  fields?: Readonly<Record<string, unknown>>;
  function: string;
  key: string;
}) => void;

/** xmur3 over the cause, then mulberry32: the same event draws the same numbers however often it is run (P10). */
const randomOf = (cause: string): (() => number) => {
  let hash = 1779033703 ^ cause.length;
  for (let at = 0; at < cause.length; at++) {
    hash = Math.imul(hash ^ cause.charCodeAt(at), 3432918353);
    hash = (hash << 13) | (hash >>> 19);
  }
  let state = hash >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
};

const uuidOf = (random: () => number): string => {
  const digits = Array.from({ length: 32 }, () => Math.floor(random() * 16));
  digits[12] = 4;
  digits[16] = 8 + (digits[16] & 3);
  const text = digits.map((digit) => digit.toString(16)).join("");
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`;
};

class FunctionContext {
  state: unknown;
  nowMs = 0;
  readonly device: {
    readonly id: string;
    command(name: string, args: unknown, options: { within: string }): { id: string };
  };
  readonly alert: { raise(name: string, details?: Readonly<Record<string, unknown>>): void; clear(name: string): void };
  readonly emit: (stream: { readonly name: string }, value: unknown, options?: { key?: string }) => void;
  readonly random: () => number;
  readonly uuid: () => string;
  readonly log: (level: string, message: string, fields?: Readonly<Record<string, unknown>>) => void;
  #random: (() => number) | undefined;

  constructor(invocation: Invocation, definition: FunctionDefinition, logSink: LogSink) {
    this.device = {
      get id(): string {
        return invocation.device;
      },
      command: (name, args, { within }) => {
        const deadlineMs = Math.floor(invocation.nowMs + durationMs(within as never));
        return {
          id: invocation.effect({ kind: "command", device: invocation.device, name, args: args ?? null, deadlineMs }),
        };
      },
    };
    this.alert = {
      raise: (name, { severity = "warning", ...details } = {}) => {
        invocation.effect({ kind: "alert.raise", name, severity: severity as Severity, details });
      },
      clear: (name) => {
        invocation.effect({ kind: "alert.clear", name });
      },
    };
    this.emit = (stream, value, options) => {
      if (!definition.emits.includes(stream.name)) {
        throw new HeadraceError(
          "HR_APP_INVALID",
          `function "${definition.name}" emits to "${stream.name}", which its \`emits\` does not list`,
        );
      }
      invocation.emit(stream.name, value, options?.key);
    };
    this.random = () => {
      this.#random ??= randomOf(invocation.cause);
      return this.#random();
    };
    this.uuid = () => uuidOf(this.random);
    this.log = (level, message, fields) =>
      logSink({ level, message, fields, function: definition.name, key: invocation.key });
  }

  begin(invocation: Invocation): void {
    this.state = invocation.state;
    this.nowMs = invocation.nowMs;
    this.#random = undefined;
  }
}

/** Handlers that call the user's function. */
export const functionHandlers = (definition: FunctionDefinition, logSink: LogSink): TaskHandlers => {
  const handler = definition.handler as unknown as (event: TaskEvent, context: FunctionContext) => unknown;
  let last: Invocation | undefined;
  let context: FunctionContext | undefined;
  return {
    ...(definition.state && { initialState: definition.state }),
    ...(definition.stateLimits && { stateLimits: definition.stateLimits }),
    onEvent: (event, invocation) => {
      // The synchronous path gives the same invocation again and again, and so gets the same context.
      if (invocation !== last || !context) {
        context = new FunctionContext(invocation, definition, logSink);
        last = invocation;
      }
      context.begin(invocation);
      return handler(event, context);
    },
  };
};

/** True when the handler is declared `async`; others show it by what they return. */
export const isAsyncHandler = (definition: FunctionDefinition): boolean =>
  definition.handler.constructor.name === "AsyncFunction";
