/** Five stateful functions on one stream: each event changes five states. */
import { app, mqtt } from "headrace";
import * as z from "zod";

const bench = app("bench-five-functions");

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

bench.function("extremes", { on: readings, state: () => ({ low: 1e9, high: -1e9, n: 0 }) }, ({ value }, { state }) => {
  state.low = Math.min(state.low, value.temperature);
  state.high = Math.max(state.high, value.temperature);
  state.n = value.n;
});

bench.function("smooth", { on: readings, state: () => ({ vibration: 0, n: 0 }) }, ({ value }, { state }) => {
  state.vibration += (value.vibration - state.vibration) / 16;
  state.n = value.n;
});

bench.function("hot", { on: readings, state: () => ({ run: 0, runs: 0, n: 0 }) }, ({ value }, { state }) => {
  state.run = value.temperature > 60 ? state.run + 1 : 0;
  if (state.run === 3) state.runs += 1;
  state.n = value.n;
});

bench.function("order", { on: readings, state: () => ({ next: 1_000_000_000, gaps: 0 }) }, ({ value }, { state }) => {
  if (value.n !== state.next) state.gaps += 1;
  state.next = value.n + 1;
});

export default bench;
