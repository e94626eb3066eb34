/** What the calls of the authoring API declare, and what they refuse; the types are in types.test.ts. */
import { describe, expect, test } from "vitest";
import * as z from "zod";
import { type App, app, count, http, mean, mqtt, type StandardSchema, sum, tumbling } from "./index.ts";

const refusal = (...parts: string[]) =>
  expect.objectContaining({ code: "HR_APP_INVALID", message: expect.stringMatching(new RegExp(parts.join(".*"))) });

const streamOf = ({ definition }: App, name: string) => definition.streams.find((stream) => stream.name === name);

describe("a stream", () => {
  test("has sources, schema, columns, partitions and retention", () => {
    const factory = app("factory");
    const schema = z.object({ temperature: z.number(), note: z.string().optional() });
    factory.stream("readings", {
      from: [mqtt("plants/:plant/pumps/:device"), http("/plants/:plant/pumps/:device")],
      schema,
      partitions: 8,
      retain: { age: "30d", bytes: "10GB" },
      time: { field: "temperature" },
      key: "plant",
    });
    expect(streamOf(factory, "readings")).toEqual({
      name: "readings",
      sources: [
        { kind: "mqtt", pattern: "plants/:plant/pumps/:device" },
        { kind: "http", pattern: "plants/:plant/pumps/:device" },
      ],
      schema,
      partitions: 8,
      retain: { ageMs: 2_592_000_000, bytes: 1e10 },
      kind: "source",
      system: false,
      columns: [
        { name: "temperature", type: "double" },
        { name: "note", type: "varchar" },
      ],
      table: false,
      timeField: "temperature",
      key: { param: "plant" },
    });
  });

  test("without a source is derived, has one partition and is kept 7 days", () => {
    const factory = app("factory");
    factory.stream("hot");
    expect(streamOf(factory, "hot")).toMatchObject({
      kind: "derived",
      sources: [],
      partitions: 1,
      retain: { ageMs: 7 * 86_400_000 },
      columns: [],
    });
  });

  test.each(["", "Readings", "1st", "a b", "a.b", "a".repeat(65)])("cannot be named %j", (name) => {
    expect(() => app("factory").stream(name)).toThrow(refusal("stream name", JSON.stringify(name)));
    expect(() => app(name)).toThrow(refusal("application name"));
  });

  test("cannot be declared twice, nor take the name of a built-in stream", () => {
    const factory = app("factory");
    factory.stream("readings");
    expect(() => factory.stream("readings")).toThrow(refusal('"readings" is declared twice'));
    expect(() => factory.stream("alerts")).toThrow(refusal('"alerts" is built in'));
  });

  test.each([0, 257, 1.5, Number.NaN])("cannot have %d partitions", (partitions) => {
    expect(() => app("factory").stream("readings", { partitions })).toThrow(
      refusal('"readings": partitions', "1 to 256"),
    );
  });

  test.each(["", "a/:", "a/:b/:b", "a/#/b", "a/b+", "a/:b-c", "a#"])("cannot come from pattern %j", (pattern) => {
    expect(() => mqtt(pattern)).toThrow(refusal("pattern", JSON.stringify(pattern).replace(/[+]/g, "\\+")));
  });

  test("may come from wildcards", () => {
    expect(mqtt("a/+/:b/#").pattern).toBe("a/+/:b/#");
  });
});

describe("columns", () => {
  const columnsOf = (schema: StandardSchema<unknown, unknown>) => {
    const factory = app("factory");
    factory.stream("readings", { schema });
    return Object.fromEntries(streamOf(factory, "readings")!.columns.map(({ name, type }) => [name, type]));
  };

  test("follow the schema's input", () => {
    const schema = z.object({
      number: z.number(),
      integer: z.int(),
      nullable: z.number().nullable(),
      boolean: z.boolean(),
      choice: z.enum(["a", "b"]),
      literal: z.literal("a"),
      list: z.array(z.number()),
      object: z.object({ a: z.string() }),
      either: z.union([z.string(), z.number()]),
      unknown: z.unknown(),
    });
    expect(columnsOf(schema)).toEqual({
      number: "double",
      integer: "bigint",
      nullable: "double",
      boolean: "boolean",
      choice: "varchar",
      literal: "varchar",
      list: "json",
      object: "json",
      either: "json",
      unknown: "json",
    });
  });

  test("are none where the schema cannot say", () => {
    expect(columnsOf(z.object({ at: z.date() }))).toEqual({});
    expect(columnsOf(z.number())).toEqual({});
    expect(columnsOf({ "~standard": { version: 1, vendor: "own", validate: (value) => ({ value }) } })).toEqual({});
  });
});

describe("a function", () => {
  test("is declared with its stream, state and what it emits to", () => {
    const factory = app("factory");
    const readings = factory.stream("readings", { from: mqtt("pumps/:device") });
    const hot = factory.stream("hot");
    const state = () => ({ n: 0 });
    const handler = () => {};
    factory.function("guard", { on: readings, state, emits: [hot] }, handler);
    expect(factory.definition.functions).toEqual([
      { name: "guard", on: "readings", state, handler, emits: ["hot"], onFailure: "skip", concurrency: 64 },
    ]);
  });

  test("refuses a second of its name, a foreign stream, and emitting to what is not derived", () => {
    const factory = app("factory");
    const readings = factory.stream("readings", { from: mqtt("pumps/:device") });
    const foreign = app("other").stream("elsewhere");
    factory.function("guard", { on: readings }, () => {});
    expect(() => factory.function("guard", { on: readings }, () => {})).toThrow(refusal('"guard" is declared twice'));
    expect(() => factory.function("b", { on: foreign }, () => {})).toThrow(
      refusal('"elsewhere"', "factory", "readings"),
    );
    expect(() => factory.function("c", { on: readings, emits: [readings] }, () => {})).toThrow(refusal('"readings"'));
    expect(() => factory.function("d", { on: readings, emits: [factory.alerts] }, () => {})).toThrow(
      refusal('"alerts"'),
    );
    expect(() => factory.function("e", { on: readings, concurrency: 0 }, () => {})).toThrow(refusal("concurrency 0"));
  });
});

describe("a window", () => {
  test("fills a table with exact columns, in as many partitions, at the stream's own time", () => {
    const factory = app("factory");
    const readings = factory.stream("readings", {
      from: mqtt("pumps/:device"),
      schema: z.object({ at: z.string(), temperature: z.number() }),
      time: { field: "at" },
      partitions: 4,
    });
    const table = readings
      .window(tumbling("1m", { lateness: "5s" }))
      .aggregate({ temperature: mean("temperature"), n: count() })
      .table("per_minute", { retain: "90d" });
    expect(table.name).toBe("per_minute");
    expect(factory.definition.windows).toEqual([
      {
        name: "readings.per_minute",
        on: "readings",
        kind: "tumbling",
        sizeMs: 60_000,
        latenessMs: 5000,
        idleAfterMs: 10_000,
        timeField: "at",
        aggregates: { temperature: { kind: "mean", field: "temperature" }, n: { kind: "count" } },
        table: "per_minute",
      },
    ]);
    expect(streamOf(factory, "per_minute")).toMatchObject({
      kind: "derived",
      table: true,
      partitions: 4,
      retain: { ageMs: 90 * 86_400_000 },
      columns: [
        { name: "windowStart", type: "bigint" },
        { name: "windowEnd", type: "bigint" },
        { name: "revision", type: "bigint" },
        { name: "op", type: "varchar" },
        { name: "temperature", type: "double" },
        { name: "n", type: "bigint" },
      ],
    });
  });

  test("refuses a column that every table has, and a table's name in use", () => {
    const readings = app("factory").stream("readings");
    const windows = readings.window(tumbling("1m"));
    const reserved: Record<string, ReturnType<typeof sum<string>>> = { op: sum("x") };
    expect(() => windows.aggregate(reserved).table("t")).toThrow(refusal('column "op"'));
    expect(() => windows.aggregate({ n: count() }).table("readings")).toThrow(refusal('"readings" is declared twice'));
  });
});

test("the built-in streams are part of every application", () => {
  const { streams } = app("factory").definition;
  expect(streams.every(({ system }) => system)).toBe(true);
  expect(Object.fromEntries(streams.map(({ name, kind }) => [name, kind]))).toEqual({
    rejected: "derived",
    "dead-letters": "derived",
    alerts: "derived",
    commands: "derived",
    "command-acks": "source",
    connections: "source",
    mqtt: "source",
  });
  expect(streams.find(({ name }) => name === "command-acks")?.sources).toEqual([
    { kind: "mqtt", pattern: "devices/:device/commands/:id/ack" },
  ]);
});

test("a definition is a snapshot: what is declared later does not change it", () => {
  const factory = app("factory");
  const before = factory.definition;
  factory.stream("readings");
  const builtIn = before.streams.length;
  expect(before.streams.every(({ system }) => system)).toBe(true);
  expect(factory.definition.streams).toHaveLength(builtIn + 1);
});
