/** Simulated pumps: each plays the temperatures of a real machine, from its own place in the series, 6,000 times as fast. */
import { readFileSync } from "node:fs";
import { defineFleet } from "@headrace/simulator";

const temperatures = readFileSync(new URL("./data/machine_temperature_system_failure.csv", import.meta.url), "utf8")
  .trim()
  .split("\n")
  .slice(1)
  .map((line) => Number(line.slice(line.indexOf(",") + 1)));

const plants = ["north", "east", "south", "west"];

/** Rounded as a sensor would, and short on the wire. */
const rounded = (value: number): number => Math.round(value * 1000) / 1000;

export default defineFleet({
  devices: 100,
  deviceId: (number) => `pump-${String(number + 1).padStart(4, "0")}`,
  rate: 20,
  model: ({ number }, random) => ({
    plant: plants[number % plants.length]!,
    phase: Math.floor(random() * temperatures.length),
    rpm: 0,
  }),
  topic: ({ id, model }) => `plants/${model.plant}/pumps/${id}`,
  payload: ({ model }, index, random) => {
    const temperature = temperatures[(model.phase + index) % temperatures.length]!;
    // A hotter pump shakes more; the sensor adds noise.
    return { temperature: rounded(temperature), vibration: rounded(0.2 + temperature / 200 + 0.1 * random()) };
  },
  commands: ({ model }, { name, args }) => {
    if (name !== "fan") throw new Error(`a pump has no command ${JSON.stringify(name)}`);
    const { on } = args as { on: boolean };
    model.rpm = on ? 1200 : 0;
    return { rpm: model.rpm };
  },
});
