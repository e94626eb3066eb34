/** The bench's side of the sink. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { end, type Server } from "./server.ts";

const processFile = new URL(
  import.meta.url.endsWith(".ts") ? "../sink/sink-process.ts" : "../sink/sink-process.js",
  import.meta.url,
);

export async function startSink(): Promise<Server> {
  const child = fork(processFile, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [port] = (await once(child, "message")) as [number];
  return {
    pid: child.pid!,
    mqttPort: port,
    kill: () => end(child, "SIGKILL"),
    [Symbol.asyncDispose]: () => end(child, "SIGKILL"),
  };
}
