/** The first application that the documentation shows, letter by letter: it has to compile and to declare what it says. */
import { app, max, mean, mqtt, tumbling } from "headrace";
import { expect, test } from "vitest";
import * as z from "zod";

const factory = app("factory");

const readings = factory.stream("readings", {
  from: mqtt("plants/:plant/pumps/:device"), // typed parameters: event.params.plant is a string
  schema: z.object({ temperature: z.number(), vibration: z.number() }),
  retain: "30d",
});

factory.function(
  "overheat-guard",
  {
    on: readings,
    state: () => ({ hot: 0 }), // one per key; the key is the device unless said otherwise
  },
  (reading, { state, device, alert }) => {
    state.hot = reading.value.temperature > 90 ? state.hot + 1 : 0;
    if (state.hot === 3) {
      device.command("fan", { on: true }, { within: "10s" });
      alert.raise("overheating", { severity: "critical", reading: reading.value.temperature });
    }
  },
);

readings
  .window(tumbling("1m"))
  .aggregate({ temperature: mean("temperature"), peak: max("vibration") })
  .table("per_minute");

test("the first application declares a stream, a function, a window and its table", () => {
  const { name, streams, functions, windows } = factory.definition;
  expect(name).toBe("factory");
  expect(streams.filter(({ system }) => !system).map((stream) => stream.name)).toEqual(["readings", "per_minute"]);
  expect(functions.map((one) => [one.name, one.on])).toEqual([["overheat-guard", "readings"]]);
  expect(windows.map(({ on, table, sizeMs }) => ({ on, table, sizeMs }))).toEqual([
    { on: "readings", table: "per_minute", sizeMs: 60_000 },
  ]);
});
