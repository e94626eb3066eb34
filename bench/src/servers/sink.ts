/** The bench's side of the sink. */
import { startServerProcess } from "./forked.ts";
import type { Server } from "./server.ts";

const processFile = new URL(
  import.meta.url.endsWith(".ts") ? "../sink/sink-process.ts" : "../sink/sink-process.js",
  import.meta.url,
);

export const startSink = (): Promise<Server> => startServerProcess(processFile);
