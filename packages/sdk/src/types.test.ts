/**
 * Goal: types flow from schema and pattern to handler and table, and a wrong name does not compile.
 * Method: `tsc --noEmit` checks this file, so that a `@ts-expect-error` without an error fails; vitest runs it as well.
 */
import { describe, expectTypeOf, test } from "vitest";
import * as z from "zod";
import {
  app,
  type CommandEvent,
  count,
  http,
  isCommand,
  max,
  mean,
  mqtt,
  tumbling,
  type ValueOf,
  type WindowRow,
} from "./index.ts";

const factory = app("factory");
const readings = factory.stream("readings", {
  from: mqtt("plants/:plant/pumps/:device"),
  schema: z.object({ temperature: z.number(), vibration: z.number().optional(), unit: z.string() }),
});

describe("a stream", () => {
  test("gives its handler the schema's output and the pattern's parameters", () => {
    factory.function(
      "typed-with-ttl",
      { on: readings, state: { initial: () => ({ hot: 0 }), ttl: "7d", bytesPerKey: "1KiB" } },
      (_event, { state }) => {
        expectTypeOf(state).toEqualTypeOf<{ hot: number }>();
      },
    );
    factory.function("typed", { on: readings, state: () => ({ hot: 0 }) }, (event, { state }) => {
      expectTypeOf(event.value).toEqualTypeOf<{ temperature: number; vibration?: number | undefined; unit: string }>();
      expectTypeOf(event.params.plant).toEqualTypeOf<string>();
      expectTypeOf(state).toEqualTypeOf<{ hot: number }>();
      // @ts-expect-error a field that the schema does not have
      event.value.pressure;
      // @ts-expect-error a parameter that the pattern does not have
      event.params.site;
      // @ts-expect-error a field that the state does not have
      state.cold;
    });
  });

  test("takes the output of a schema that transforms", () => {
    const raw = factory.stream("raw", { schema: z.object({ at: z.string().transform((text) => new Date(text)) }) });
    expectTypeOf<ValueOf<typeof raw>>().toEqualTypeOf<{ at: Date }>();
  });

  test("without a schema holds unknown JSON, or what the author states", () => {
    expectTypeOf<ValueOf<ReturnType<typeof factory.stream>>>().toBeUnknown();
    const stated = app("other").stream<{ degrees: number }>("hot");
    expectTypeOf<ValueOf<typeof stated>>().toEqualTypeOf<{ degrees: number }>();
  });

  test("of two sources has a parameter for sure only where both have it", () => {
    const two = app("other").stream("two", { from: [mqtt("a/:site/:device"), http("b/:device")] });
    app("third").stream("x");
    type Params = NonNullable<(typeof two)["~types"]>["params"];
    expectTypeOf<Params["device"]>().toEqualTypeOf<string>();
    expectTypeOf<Params["site"]>().toEqualTypeOf<string | undefined>();
  });

  test("is keyed by one of its parameters, and timed by one of its fields", () => {
    const from = mqtt("plants/:plant/pumps/:device");
    const schema = z.object({ at: z.number() });
    app("a").stream("s", { from, schema, key: "plant", time: { field: "at" } });
    // @ts-expect-error no such parameter
    app("b").stream("s", { from, schema, key: "plnt" });
    // @ts-expect-error no such field
    app("c").stream("s", { from, schema, time: { field: "att" } });
    // @ts-expect-error no such unit
    () => app("d").stream("s", { retain: "30x" });
  });
});

describe("a window", () => {
  test("accepts numeric fields only, and types its rows", () => {
    const table = readings
      .window(tumbling("1m", { timeField: "unit" }))
      .aggregate({ temperature: mean("temperature"), peak: max("vibration"), n: count() })
      .table("per_minute");
    expectTypeOf<ValueOf<typeof table>>().toExtend<WindowRow & { temperature: number; peak: number; n: number }>();
    factory.function("on-table", { on: table }, ({ value }) => {
      expectTypeOf(value.peak).toEqualTypeOf<number>();
      expectTypeOf(value.op).toEqualTypeOf<"upsert" | "retract">();
      // @ts-expect-error a column that was not aggregated
      value.vibration;
    });
  });

  test("refuses fields that are not there or hold no number", () => {
    // @ts-expect-error no such field
    readings.window(tumbling("1m")).aggregate({ a: mean("temprature") });
    // @ts-expect-error not a number
    readings.window(tumbling("1m")).aggregate({ a: mean("unit") });
    // @ts-expect-error a column that every table has
    readings.window(tumbling("1m")).aggregate({ revision: mean("temperature") });
    // @ts-expect-error no such field
    readings.window(tumbling("1m", { timeField: "at" }));
  });
});

describe("a handler", () => {
  const hot = factory.stream<{ degrees: number }>("hot");
  const cold = factory.stream<{ degrees: number; below: true }>("cold");
  const fan = factory.command<{ on: boolean }, { rpm: number }>("fan");

  test("emits only to streams that it lists, and only their values", () => {
    factory.function("emitter", { on: readings, emits: [hot, cold] }, (_event, { emit }) => {
      emit(hot, { degrees: 1 }, { key: "k" });
      emit(cold, { degrees: 1, below: true });
      // @ts-expect-error the value of the other stream
      emit(cold, { degrees: 1 });
      // @ts-expect-error a stream that it does not list
      emit(readings, { temperature: 1, unit: "C" });
    });
    factory.function("silent", { on: readings }, (_event, context) => {
      expectTypeOf(context.state).toEqualTypeOf<undefined>();
      // @ts-expect-error it lists none
      context.emit(hot, { degrees: 1 });
    });
  });

  test("sends typed commands, or any JSON under a plain name", () => {
    factory.function("sender", { on: readings }, (_event, { device }) => {
      expectTypeOf(device.command(fan, { on: true }, { within: "10s" }).id).toEqualTypeOf<string>();
      device.command("reboot", { hard: true }, { within: "1m" });
      // @ts-expect-error wrong arguments
      device.command(fan, { of: true }, { within: "10s" });
      // @ts-expect-error no deadline
      device.command(fan, { on: true });
      // @ts-expect-error no such unit
      device.command(fan, { on: true }, { within: "10x" });
    });
  });

  test("sees the acknowledgement of a command as a typed event", () => {
    factory.function("listener", { on: factory.commands }, ({ value }) => {
      expectTypeOf(value).toEqualTypeOf<CommandEvent>();
      if (isCommand(value, fan) && value.status === "acknowledged") {
        expectTypeOf(value.result).toEqualTypeOf<{ rpm: number } | undefined>();
        expectTypeOf(value.args).toEqualTypeOf<{ on: boolean }>();
      }
    });
    factory.function("watcher", { on: factory.alerts }, ({ value }) => {
      expectTypeOf(value.status).toEqualTypeOf<"raised" | "updated" | "cleared">();
    });
  });
});
