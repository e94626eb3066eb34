/** Stores what comes, with schema and retention, and does nothing else. */
import { app, mqtt } from "headrace";
import * as z from "zod";

const bench = app("bench-ingest");

bench.stream("readings", {
  from: mqtt("bench/:device/data"),
  schema: z.object({ c: z.number(), n: z.number(), temperature: z.number(), vibration: z.number() }),
  retain: { age: "1d", bytes: "50GB" },
});

export default bench;
