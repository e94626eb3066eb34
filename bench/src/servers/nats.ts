/** nats-server with its MQTT listener, whose messages and sessions live in JetStream. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Absent, Peer } from "./peer.ts";
import { freePort, listening } from "./ports.ts";
import { end, type Server, watched } from "./server.ts";

const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "headrace-bench");
const module = "github.com/nats-io/nats-server/v2@latest";
const buildMs = 15 * 60_000;
const settings = ["jetstream in files, sync_interval 2m (its default)", "mqtt.max_ack_pending 10000"];

/** From the path, else built once by Go into the user's cache; a sentence when there is neither. */
function binary(say: (line: string) => void): { readonly path: string } | { readonly reason: string } {
  if (spawnSync("nats-server", ["--version"]).status === 0) return { path: "nats-server" };
  const built = join(cache, "nats-server");
  if (existsSync(built)) return { path: built };
  if (spawnSync("go", ["version"]).status !== 0) return { reason: "neither nats-server nor go is installed" };
  say(`building nats-server into ${cache}: this takes some minutes, once`);
  mkdirSync(cache, { recursive: true });
  const run = spawnSync("go", ["install", module], { env: { ...process.env, GOBIN: cache }, timeout: buildMs });
  if (run.status === 0 && existsSync(built)) return { path: built };
  return { reason: `go install ${module} failed: ${run.stderr.toString().trim().split("\n").at(-1) ?? ""}` };
}

export function nats(say: (line: string) => void): readonly (Peer | Absent)[] {
  const found = binary(say);
  if ("reason" in found) return [{ key: "nats", reason: found.reason }];
  const { path } = found;
  const version = /v(\d\S*)/.exec(spawnSync(path, ["--version"]).stdout.toString())?.[1] ?? "unknown";
  return [
    {
      key: "nats",
      title: "nats-server",
      version,
      configuration: settings,
      promise: "written to a file of JetStream; the disk is synced every two minutes",
      start: (folder) => startNats(path, folder),
    },
  ];
}

async function startNats(path: string, folder: string): Promise<Server> {
  const [port, clients] = [await freePort(), await freePort()];
  const file = join(folder, "nats.conf");
  writeFileSync(
    file,
    `server_name: bench
host: 127.0.0.1
port: ${clients}
max_connections: 65536
jetstream { store_dir: "${join(folder, "jetstream")}" }
mqtt { host: 127.0.0.1, port: ${port}, max_ack_pending: 10000 }
`,
  );
  const child = spawn(path, ["-c", file], { stdio: ["ignore", "pipe", "pipe"], detached: true });
  await listening("nats-server", child, port, watched(child));
  return {
    pid: child.pid!,
    mqttPort: port,
    kill: () => end(child, "SIGKILL"),
    [Symbol.asyncDispose]: () => end(child, "SIGKILL"),
  };
}
