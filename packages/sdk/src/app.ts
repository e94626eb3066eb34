/** The authoring API: an application is declared by calls, each checked at once, and read as one definition. */
import { columnsOf } from "./columns.ts";
import { type Command, type CommandEvent, command } from "./command.ts";
import type { Context, Event } from "./context.ts";
import {
  type AppDefinition,
  type ColumnDefinition,
  type FunctionDefinition,
  type StreamDefinition,
  systemStreams,
  type WindowDefinition,
} from "./definition.ts";
import type { FieldOf } from "./fields.ts";
import { checkName, checkRange, invalid } from "./invalid.ts";
import { type Retain, retainDefinition } from "./retain.ts";
import type { SourceParams } from "./source.ts";
import { type StateOptions, stateDefinition } from "./state.ts";
import {
  type AnySource,
  type Stream,
  type StreamOptions,
  type StreamRef,
  sourceDefinitions,
  type Windowed,
} from "./stream.ts";
import {
  type AlertEvent,
  type ConnectionEvent,
  type DeadLetterEvent,
  type RejectedEvent,
  systemStreamDefinitions,
} from "./system.ts";
import type { Aggregate, RowOf, Tumbling } from "./window.ts";

type NoParams = Record<never, string>;

/** Options of {@link App.function}. */
export interface FunctionOptions<Value, Params, State, Emits> {
  /** The stream whose events it handles. */
  readonly on: Stream<Value, Params>;
  /**
   * Makes the state of a key that has none yet: plain data, Map, Set, Date, bigint and typed arrays, at most 64 KiB.
   * `{ initial, ttl: "7d" }` gives it a time to live, or other bounds.
   */
  readonly state?: (() => State) | StateOptions<State>;
  /** The derived streams that it may emit to. */
  readonly emits?: readonly Emits[];
  /** Asynchronous invocations at once over all keys, 1 to 10,000; default 64. Events of one key stay in order. */
  readonly concurrency?: number;
  /** What becomes of an event whose handler throws: `skip` (default) sends it to `app.deadLetters`. */
  readonly onFailure?: "skip";
}

/** An application under construction. */
export interface App {
  readonly name: string;
  /** What was declared so far, as plain data: what engine, server and testkit read. */
  readonly definition: AppDefinition;

  /**
   * Declares a stream: fed by devices when `from` is given, else derived and fed by functions.
   *
   * @throws HeadraceError `HR_APP_INVALID` for a name in use or malformed, partitions outside 1 to 256, or an unreadable retention.
   */
  stream<Value = unknown, const From extends AnySource | undefined = undefined>(
    name: string,
    options?: StreamOptions<Value, From>,
  ): StreamRef<Value, SourceParams<From>>;

  /**
   * Declares a function: the handler is called for each event, in order per key, and its effects are committed exactly once.
   * A synchronous handler runs in a tight loop; one that returns a promise runs concurrently across keys.
   *
   * @throws HeadraceError `HR_APP_INVALID` for a name in use or malformed, or a stream that this application does not declare.
   */
  function<Value, Params, State extends object | undefined = undefined, Emits extends Stream = never>(
    name: string,
    options: FunctionOptions<Value, Params, State, Emits>,
    handler: (event: Event<Value, Params>, context: Context<State, Emits>) => unknown,
  ): void;

  /** The typed name of a command, for `device.command` and {@link isCommand}. */
  command<Args = unknown, Result = unknown>(name: string): Command<Args, Result>;

  /** Alerts as they are raised, updated and cleared. */
  readonly alerts: StreamRef<AlertEvent, NoParams>;
  /** Commands as they are sent, acknowledged, failed or expired. */
  readonly commands: StreamRef<CommandEvent, NoParams>;
  /** MQTT clients as they connect and disconnect. */
  readonly connections: StreamRef<ConnectionEvent, NoParams>;
  /** Events that do not parse or break their stream's schema. */
  readonly rejected: StreamRef<RejectedEvent, NoParams>;
  /** Events whose handler failed. */
  readonly deadLetters: StreamRef<DeadLetterEvent, NoParams>;
}

const windowColumns: readonly ColumnDefinition[] = [
  { name: "windowStart", type: "bigint" },
  { name: "windowEnd", type: "bigint" },
  { name: "revision", type: "bigint" },
  { name: "op", type: "varchar" },
];

class Builder implements App {
  readonly name: string;
  readonly alerts = this.#ref<AlertEvent>(systemStreams.alerts);
  readonly commands = this.#ref<CommandEvent>(systemStreams.commands);
  readonly connections = this.#ref<ConnectionEvent>(systemStreams.connections);
  readonly rejected = this.#ref<RejectedEvent>(systemStreams.rejected);
  readonly deadLetters = this.#ref<DeadLetterEvent>(systemStreams.deadLetters);
  readonly #streams = new Map(systemStreamDefinitions.map((stream) => [stream.name, stream]));
  readonly #functions = new Map<string, FunctionDefinition>();
  readonly #windows: WindowDefinition[] = [];

  constructor(name: string) {
    checkName("application", name);
    this.name = name;
  }

  get definition(): AppDefinition {
    return {
      name: this.name,
      streams: [...this.#streams.values()],
      functions: [...this.#functions.values()],
      windows: [...this.#windows],
    };
  }

  stream<Value = unknown, const From extends AnySource | undefined = undefined>(
    name: string,
    options: StreamOptions<Value, From> = {},
  ): StreamRef<Value, SourceParams<From>> {
    const { from, schema, partitions = 1, retain, time, key } = options;
    const sources = sourceDefinitions(from);
    this.#addStream({
      name,
      sources,
      ...(schema && { schema }),
      partitions: checkRange(`stream ${JSON.stringify(name)}: partitions`, partitions, 1, 256),
      retain: retainDefinition(retain),
      kind: sources.length > 0 ? "source" : "derived",
      system: false,
      columns: columnsOf(schema),
      table: false,
      ...(time && { timeField: time.field }),
      ...(key !== undefined && { key: typeof key === "string" ? { param: key } : { header: key.header } }),
    });
    return this.#ref(name);
  }

  function<Value, Params, State extends object | undefined = undefined, Emits extends Stream = never>(
    name: string,
    options: FunctionOptions<Value, Params, State, Emits>,
    handler: (event: Event<Value, Params>, context: Context<State, Emits>) => unknown,
  ): void {
    const { on, state, emits = [], concurrency = 64, onFailure = "skip" } = options;
    const what = `function ${JSON.stringify(name)}`;
    checkName("function", name);
    if (this.#functions.has(name)) throw invalid(`${what} is declared twice: give each its own name`);
    if (typeof handler !== "function") throw invalid(`${what} has no handler: give a function as third argument`);
    this.#stream(what, on);
    for (const target of emits) {
      const { kind, table, system } = this.#stream(what, target);
      if (kind !== "derived" || table || system) {
        throw invalid(
          `${what} emits to ${JSON.stringify(target.name)}: only a stream without \`from\` can be emitted to`,
        );
      }
    }
    this.#functions.set(name, {
      name,
      on: on.name,
      ...stateDefinition(what, state),
      handler,
      emits: emits.map((target) => target.name),
      onFailure,
      concurrency: checkRange(`${what}: concurrency`, concurrency, 1, 10_000),
    });
  }

  command<Args = unknown, Result = unknown>(name: string): Command<Args, Result> {
    return command<Args, Result>(name);
  }

  #addStream(stream: StreamDefinition): void {
    checkName("stream", stream.name);
    const other = this.#streams.get(stream.name);
    if (other) {
      const why = other.system ? "is built in: choose another name" : "is declared twice: give each its own name";
      throw invalid(`stream ${JSON.stringify(stream.name)} ${why}`);
    }
    this.#streams.set(stream.name, stream);
  }

  #stream(what: string, { name }: Stream): StreamDefinition {
    const stream = this.#streams.get(name);
    if (stream) return stream;
    const known = [...this.#streams.keys()].join(", ");
    throw invalid(
      `${what} refers to stream ${JSON.stringify(name)}, which ${this.name} does not declare; it has ${known}`,
    );
  }

  #ref<Value, Params = NoParams>(name: string): StreamRef<Value, Params> {
    return { name, window: (spec: Tumbling<FieldOf<Value>>) => this.#window<Value>(name, spec) };
  }

  #window<Value>(on: string, { timeField, ...spec }: Tumbling<string>): Windowed<Value> {
    const source = this.#stream("window", { name: on });
    const field = timeField ?? source.timeField;
    return {
      aggregate: (aggregates) => ({
        table: (name, options) =>
          this.#table(name, source, { ...spec, ...(field && { timeField: field }) }, aggregates, options),
      }),
    };
  }

  #table<A extends object>(
    name: string,
    source: StreamDefinition,
    spec: Omit<Tumbling<string>, "~">,
    aggregates: A,
    { retain }: { readonly retain?: Retain } = {},
  ): StreamRef<RowOf<A>, NoParams> {
    const fields: [string, Aggregate<string>][] = Object.entries(aggregates);
    const reserved = fields.find(([field]) => windowColumns.some((column) => column.name === field));
    if (reserved) throw invalid(`table ${JSON.stringify(name)}: column ${JSON.stringify(reserved[0])} is built in`);
    this.#addStream({
      name,
      sources: [],
      partitions: source.partitions,
      retain: retainDefinition(retain),
      kind: "derived",
      system: false,
      columns: [
        ...windowColumns,
        ...fields.map(([name, { kind }]) => ({
          name,
          type: kind === "count" ? ("bigint" as const) : ("double" as const),
        })),
      ],
      table: true,
    });
    this.#windows.push({
      name: `${source.name}.${name}`,
      on: source.name,
      ...spec,
      aggregates: Object.fromEntries(fields),
      table: name,
    });
    return this.#ref(name);
  }
}

/**
 * Starts the definition of an application; export it as the default of its file.
 *
 * @throws HeadraceError `HR_APP_INVALID` for a malformed name.
 * @example
 * ```ts
 * const factory = app("factory");
 * const readings = factory.stream("readings", { from: mqtt("pumps/:device"), retain: "30d" });
 * factory.function("pump-count", { on: readings, state: () => ({ count: 0 }) }, (_reading, { state }) => {
 *   state.count += 1;
 * });
 * readings.window(tumbling("1m")).aggregate({ n: count() }).table("per_minute");
 * factory.definition.functions.map(({ name, on }) => `${name} on ${on}`); // => ["pump-count on readings"]
 * ```
 */
export const app = (name: string): App => new Builder(name);
