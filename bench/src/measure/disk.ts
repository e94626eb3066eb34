/** What the data lies on: its file system, and what a sync costs there before the run. */
import { closeSync, fdatasyncSync, openSync, readFileSync, realpathSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { BenchError } from "../errors.ts";
import { round } from "./statistics.ts";

export interface Disk {
  readonly fileSystem: string;
  /** 64 KiB written over zeros and synced, as the log does it. */
  readonly syncMs: { readonly p50: number; readonly p99: number };
}

const inMemory = new Set(["tmpfs", "ramfs", "devtmpfs"]);
const syncBytes = 64 * 1024;
const syncs = 300;

function fileSystemOf(folder: string): string {
  const path = realpathSync(folder);
  let best = { mount: "", type: "unknown" };
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n")) {
    const [front, back] = line.split(" - ");
    const mount = front!.split(" ")[4]!.replaceAll("\\040", " ");
    const below = mount === "/" || path === mount || path.startsWith(`${mount}/`);
    // A later mount on the same place hides the earlier one.
    if (below && mount.length >= best.mount.length) best = { mount, type: back!.split(" ")[0]! };
  }
  return best.type;
}

/** @throws BenchError when the folder is in memory: a sync that costs nothing proves nothing */
export function measureDisk(folder: string): Disk {
  const fileSystem = fileSystemOf(folder);
  if (inMemory.has(fileSystem)) {
    throw new BenchError(`${folder} is on ${fileSystem}, which is memory: give --data a folder on a disk`);
  }
  const file = join(folder, "sync-probe");
  const handle = openSync(file, "w");
  const durationsMs: number[] = [];
  try {
    const bytes = Buffer.alloc(syncBytes);
    for (let at = 0; at < syncs; at += 1) writeSync(handle, bytes, 0, syncBytes, at * syncBytes);
    fdatasyncSync(handle);
    bytes.fill(1);
    for (let at = 0; at < syncs; at += 1) {
      const startMs = performance.now();
      writeSync(handle, bytes, 0, syncBytes, at * syncBytes);
      fdatasyncSync(handle);
      durationsMs.push(performance.now() - startMs);
    }
  } finally {
    closeSync(handle);
    rmSync(file);
  }
  durationsMs.sort((a, b) => a - b);
  const at = (share: number): number => round(durationsMs[Math.floor(share * (syncs - 1))]!, 3);
  return { fileSystem, syncMs: { p50: at(0.5), p99: at(0.99) } };
}
