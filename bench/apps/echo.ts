/**
 * Counts per device, and answers a message that asks with a command that carries the message's number. Its deadline is
 * shorter than the pause after which a command is sent again, so that a device that does not answer gets it once.
 */
import { app, mqtt } from "headrace";
import * as z from "zod";

const bench = app("bench-echo");

const readings = bench.stream("readings", {
  from: mqtt("bench/:device/data"),
  schema: z.object({
    c: z.number(),
    n: z.number(),
    temperature: z.number(),
    vibration: z.number(),
    ask: z.boolean().optional(),
  }),
  retain: { age: "1d", bytes: "50GB" },
});

const echo = bench.command<{ n: number }, null>("echo");

bench.function("answer", { on: readings, state: () => ({ count: 0 }) }, ({ value }, { state, device }) => {
  state.count += 1;
  if (value.ask === true) device.command(echo, { n: value.n }, { within: "2s" });
});

export default bench;
