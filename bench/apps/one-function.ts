/** One stateful function: the state of the device changes on every event. */
import { app, mqtt } from "headrace";
import * as z from "zod";

const bench = app("bench-one-function");

const readings = bench.stream("readings", {
  from: mqtt("bench/:device/data"),
  schema: z.object({ c: z.number(), n: z.number(), temperature: z.number(), vibration: z.number() }),
  retain: { age: "1d", bytes: "50GB" },
});

bench.function("mean", { on: readings, state: () => ({ count: 0, sum: 0, last: 0 }) }, ({ value }, { state }) => {
  state.count += 1;
  state.sum += value.temperature;
  state.last = value.n;
});

export default bench;
