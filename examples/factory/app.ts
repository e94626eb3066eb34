/** Pumps report temperature and vibration; one that stays too hot raises an alert and gets its fan switched on. */
import { app, count, isCommand, max, mean, mqtt, tumbling } from "headrace";
import * as z from "zod";

const factory = app("factory");

const readings = factory.stream("readings", {
  from: mqtt("plants/:plant/pumps/:device"),
  schema: z.object({ temperature: z.number(), vibration: z.number() }),
  retain: { age: "30d", bytes: "10GB" },
});

const fan = factory.command<{ on: boolean }, { rpm: number }>("fan");

/** Hot above, cool below; between them nothing changes, so that a value that hovers raises one alert, not many. */
const hotCelsius = 95;
const coolCelsius = 90;
/** Readings in a row that it takes to believe a change. */
const sustained = 3;

factory.function(
  "overheat-guard",
  { on: readings, state: () => ({ hot: 0, cool: 0, alarm: false }) },
  ({ value, params }, { state, device, alert }) => {
    const { temperature } = value;
    state.hot = temperature > hotCelsius ? state.hot + 1 : 0;
    state.cool = temperature < coolCelsius ? state.cool + 1 : 0;
    if (!state.alarm && state.hot >= sustained) {
      state.alarm = true;
      device.command(fan, { on: true }, { within: "10s" });
      alert.raise("overheating", { severity: "critical", plant: params.plant, reading: temperature });
    } else if (state.alarm && state.cool >= sustained) {
      state.alarm = false;
      device.command(fan, { on: false }, { within: "10s" });
      alert.clear("overheating");
    }
  },
);

factory.function(
  "fan-log",
  { on: factory.commands, state: () => ({ rpm: 0, failed: 0 }) },
  ({ value, device }, { state, log }) => {
    if (!isCommand(value, fan)) return;
    if (value.status === "acknowledged") state.rpm = value.result?.rpm ?? 0;
    if (value.status === "failed" || value.status === "expired") {
      state.failed += 1;
      log("warn", "the fan did not answer", { device, status: value.status });
    }
  },
);

factory.function("pump-count", { on: readings, state: () => ({ count: 0 }) }, (_reading, { state }) => {
  state.count += 1;
});

readings
  .window(tumbling("5s"))
  .aggregate({ temperature: mean("temperature"), peak: max("temperature"), shake: max("vibration"), n: count() })
  .table("per_5s", { retain: "90d" });

export default factory;
