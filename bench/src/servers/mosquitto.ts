/** mosquitto of the system, configured to do its best. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BenchError } from "../errors.ts";
import type { Absent, Peer } from "./peer.ts";
import { freePort, listening } from "./ports.ts";
import { end, type Server, watched } from "./server.ts";

const binary = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"].find(existsSync);

/** Without bounds of its own that would slow it down or drop messages; the second configuration saves its database as it changes. */
const configuration = (persistent: boolean): readonly string[] => [
  "allow_anonymous true",
  "max_inflight_messages 0",
  "max_queued_messages 0",
  "set_tcp_nodelay true",
  "log_type error",
  ...(persistent ? ["persistence true", "autosave_on_changes true", "autosave_interval 1000"] : ["persistence false"]),
];

/** As `mosquitto -h` says it; undefined when it is not installed. */
function mosquittoVersion(): string | undefined {
  if (binary === undefined) return undefined;
  return /version (\S+)/.exec(spawnSync(binary, ["-h"]).stdout.toString())?.[1] ?? "unknown";
}

/** Starts mosquitto with its files in `folder`. */
export async function startMosquitto(folder: string, persistent: boolean): Promise<Server> {
  if (binary === undefined) throw new BenchError("mosquitto is not installed: apt-get install mosquitto");
  const port = await freePort();
  const file = join(folder, "mosquitto.conf");
  const own = [`listener ${port} 127.0.0.1`, ...(persistent ? [`persistence_location ${folder}/`] : [])];
  writeFileSync(file, `${[...own, ...configuration(persistent)].join("\n")}\n`);
  const child = spawn(binary, ["-c", file], { stdio: ["ignore", "pipe", "pipe"], detached: true });
  await listening("mosquitto", child, port, watched(child));
  return {
    pid: child.pid!,
    mqttPort: port,
    kill: () => end(child, "SIGKILL"),
    [Symbol.asyncDispose]: () => end(child, "SIGKILL"),
  };
}

/** Without and with persistence. */
export function mosquitto(): readonly (Peer | Absent)[] {
  const version = mosquittoVersion();
  if (version === undefined) return [{ key: "mosquitto", reason: "not installed: apt-get install mosquitto" }];
  const peer = (persistent: boolean): Peer => ({
    key: persistent ? "mosquittoPersistent" : "mosquitto",
    title: persistent ? "mosquitto with persistence" : "mosquitto",
    version,
    configuration: configuration(persistent),
    promise: "taken; nothing is on the disk",
    start: (folder) => startMosquitto(folder, persistent),
  });
  return [peer(false), peer(true)];
}
