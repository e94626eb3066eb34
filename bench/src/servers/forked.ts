/** A server of the bench's own, forked: it says its port when it listens. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { end, type Server, watched } from "./server.ts";

export async function startServerProcess(file: URL): Promise<Server> {
  const child = fork(file, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  watched(child);
  const [port] = (await once(child, "message")) as [number];
  return {
    pid: child.pid!,
    mqttPort: port,
    kill: () => end(child, "SIGKILL"),
    [Symbol.asyncDispose]: () => end(child, "SIGKILL"),
  };
}
