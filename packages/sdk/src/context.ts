/** What a handler gets: the event and, beside it, everything it may do. */
import type { Command } from "./command.ts";
import type { Stream, ValueOf } from "./stream.ts";
import type { Duration } from "./units.ts";

/** One event as a handler sees it. */
export interface Event<Value = unknown, Params = Readonly<Record<string, string>>> {
  /** The payload, parsed and checked by the stream's schema. */
  readonly value: Value;
  /** The topic's parameters. */
  readonly params: Params;
  /** The device that sent it, or that caused it for a derived event. */
  readonly device: string;
  /** State, order and windows are per key: the device unless the stream says otherwise. */
  readonly key: string;
  /** The topic it was published on; empty for a derived event. */
  readonly topic: string;
  /** The event's time as the stream defines it: its time field, else arrival; ms since the epoch. */
  readonly timeMs: number;
  /** When a gateway accepted it, in ms since the epoch. */
  readonly arrivalTimeMs: number;
  readonly qos: 0 | 1 | 2;
  /** MQTT 5 user properties or HTTP headers `hr-…`; the last value of a repeated name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Position of the event that caused this one; absent when a device sent it. */
  readonly cause?: string;
}

/** The arguments that a command takes: its own type for a {@link Command}, any JSON value for a plain name. */
export type ArgsOf<Name extends string> = Name extends Command<infer Args, infer _Result> ? Args : unknown;

/** The device of the event. */
export interface Device {
  readonly id: string;
  /**
   * Sends a command to the device once this invocation is committed: QoS 1 on `devices/{id}/commands/{name}`, with its id kept when it is repeated.
   * Its life cycle comes back as events of `app.commands`; not acknowledged `within` that time, it expires.
   */
  command<const Name extends string>(
    name: Name,
    args: ArgsOf<NoInfer<Name>>,
    options: { readonly within: Duration },
  ): { readonly id: string };
}

export type Severity = "info" | "warning" | "critical";

/** Details of an alert: its severity (default `warning`) and any JSON data. */
export interface AlertDetails {
  readonly severity?: Severity;
  readonly [name: string]: unknown;
}

/** The alerts of the event's key, by name. */
export interface Alerts {
  /** Raises the alert, or updates the one that is raised; one event of `app.alerts` each time its details change. */
  raise(name: string, details?: AlertDetails): void;
  /** Clears the alert; nothing happens if it is not raised. */
  clear(name: string): void;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/**
 * What a handler may do. Everything takes effect with the commit of this invocation, or not at all.
 * Time, randomness and ids come from here, so that tests can repeat a run exactly.
 */
export interface Context<State = undefined, Emits extends Stream = never> {
  /** The key's state, to be changed in place; undefined for a stateless function. */
  readonly state: State;
  readonly device: Device;
  readonly alert: Alerts;
  /** Emits an event to a derived stream that the function lists in `emits`; the key is the event's own unless given. */
  emit<Target extends Emits>(
    stream: Target,
    value: ValueOf<NoInfer<Target>>,
    options?: { readonly key?: string },
  ): void;
  /** Now, in ms since the epoch. */
  readonly nowMs: number;
  /** A number from 0 up to 1. */
  random(): number;
  uuid(): string;
  log(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void;
}
