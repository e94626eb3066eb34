/** mosquitto of the system, configured to do its best. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BenchError } from "../errors.ts";
import { end, type Server, watched } from "./server.ts";

const binary = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"].find(existsSync);
const startMs = 10_000;

/** Without bounds of its own that would slow it down; the second configuration saves its database as it changes. */
export const configuration = (persistent: boolean): readonly string[] => [
  "allow_anonymous true",
  "max_inflight_messages 0",
  "set_tcp_nodelay true",
  "log_type error",
  ...(persistent ? ["persistence true", "autosave_on_changes true", "autosave_interval 1000"] : ["persistence false"]),
];

/** As `mosquitto -h` says it; undefined when it is not installed. */
export function mosquittoVersion(): string | undefined {
  if (binary === undefined) return undefined;
  return /version (\S+)/.exec(spawnSync(binary, ["-h"]).stdout.toString())?.[1] ?? "unknown";
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  return typeof address === "object" && address !== null ? address.port : 0;
}

const answers = (port: number): Promise<boolean> =>
  new Promise((answer) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      answer(true);
    });
    socket.once("error", () => answer(false));
  });

/** Starts mosquitto with its files in `folder`. */
export async function startMosquitto(folder: string, persistent: boolean): Promise<Server> {
  if (binary === undefined) throw new BenchError("mosquitto is not installed: apt-get install mosquitto");
  const port = await freePort();
  const file = join(folder, "mosquitto.conf");
  const own = [`listener ${port} 127.0.0.1`, ...(persistent ? [`persistence_location ${folder}/`] : [])];
  writeFileSync(file, `${[...own, ...configuration(persistent)].join("\n")}\n`);
  const child = spawn(binary, ["-c", file], { stdio: ["ignore", "pipe", "pipe"], detached: true });
  const words = watched(child);
  const deadlineMs = performance.now() + startMs;
  while (!(await answers(port))) {
    if (child.exitCode !== null || performance.now() > deadlineMs) {
      await end(child, "SIGKILL");
      throw new BenchError(`mosquitto did not start: ${words()}`);
    }
    await sleep(20);
  }
  return {
    pid: child.pid!,
    mqttPort: port,
    kill: () => end(child, "SIGKILL"),
    [Symbol.asyncDispose]: () => end(child, "SIGKILL"),
  };
}
