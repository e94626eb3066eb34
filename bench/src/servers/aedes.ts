/** aedes, the MQTT broker for Node, in a process of its own. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { processFile } from "../processes/asked-process.ts";
import { startServerProcess } from "./forked.ts";
import type { Absent, Peer } from "./peer.ts";

export function aedes(): readonly (Peer | Absent)[] {
  const [folder] =
    createRequire(import.meta.url)
      .resolve.paths("aedes")
      ?.filter(hasAedes) ?? [];
  if (folder === undefined) return [{ key: "aedes", reason: "not installed: npm ci" }];
  return [
    {
      key: "aedes",
      title: "aedes",
      version: versionIn(folder) ?? "unknown",
      configuration: ["its defaults: state in memory, 100 messages at once", `Node ${process.version}`],
      promise: "taken; nothing is on the disk",
      start: () => startServerProcess(processFile("aedes", import.meta.url)),
    },
  ];
}

function versionIn(folder: string): string | undefined {
  try {
    const text = readFileSync(join(folder, "aedes", "package.json"), "utf8");
    return (JSON.parse(text) as { version?: string }).version;
  } catch {
    return undefined;
  }
}

const hasAedes = (folder: string): boolean => versionIn(folder) !== undefined;
