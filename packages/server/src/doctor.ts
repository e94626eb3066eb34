/** Looks at what a node needs of its machine and says what to do about what is not right. Changes nothing but a file of its own, for moments. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { availableParallelism, totalmem } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HeadraceError } from "@headrace/sdk";
import { examineTls, type TlsFiles } from "./gateway/index.ts";

/** One thing that was looked at. */
export interface Diagnosis {
  readonly subject: "node" | "folder" | "disk" | "space" | "descriptors" | "memory" | "clock" | "port" | "tls";
  readonly result: "good" | "warning" | "bad" | "unknown";
  readonly found: string;
  /** What to do; absent when it is good. */
  readonly action?: string;
}

export interface DoctorOptions {
  readonly dataFolder: string;
  readonly host: string;
  /** Ports that the node would listen on. */
  readonly ports: readonly number[];
  /** Files of TLS, and what devices call the node. */
  readonly tls?: { readonly files: TlsFiles; readonly names: readonly string[] };
}

const syncs = 60;
const syncBytes = 4096;
/** Faster than any device that keeps what it is told: it was not told. */
const impossibleSyncMs = 0.012;
const slowSyncMs = 20;
const memoryFileSystems = new Map([
  [0x01021994, "tmpfs"],
  [0x858458f6, "ramfs"],
]);

const good = (subject: Diagnosis["subject"], found: string): Diagnosis => ({ subject, result: "good", found });

/** The folder itself, or the nearest one above that exists. */
const existing = (folder: string): string => (existsSync(folder) ? folder : existing(dirname(folder)));

const folderOf = (folder: string): Diagnosis => {
  try {
    const state = lstatSync(folder);
    if (state.isSymbolicLink())
      return {
        subject: "folder",
        result: "warning",
        found: `${folder} is a symbolic link`,
        action: "Name the folder that it points to, so that a changed link cannot change the data.",
      };
    if (!state.isDirectory())
      return {
        subject: "folder",
        result: "bad",
        found: `${folder} is not a folder`,
        action: "Choose another folder with --data.",
      };
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    const own = process.getuid?.();
    if (own !== undefined && state.uid !== own)
      return {
        subject: "folder",
        result: "warning",
        found: `${folder} belongs to user ${state.uid}, this is user ${own}`,
        action: "Run node and tools as the owner of the folder.",
      };
    if ((state.mode & 0o002) !== 0)
      return {
        subject: "folder",
        result: "bad",
        found: `${folder} can be written by everybody`,
        action: `chmod o-rwx ${folder}`,
      };
    return good("folder", `${folder} can be read and written`);
  } catch (error) {
    return {
      subject: "folder",
      result: "bad",
      found: `${folder}: ${error instanceof Error ? error.message : String(error)}`,
      action: "Check owner and permissions, or choose another folder with --data.",
    };
  }
};

/** A folder that the node would make. */
const parentOf = (folder: string, parent: string): Diagnosis => {
  try {
    accessSync(parent, constants.W_OK | constants.X_OK);
    return good("folder", `${folder} does not exist and can be made`);
  } catch {
    return {
      subject: "folder",
      result: "bad",
      found: `${folder} does not exist, and nothing can be made in ${parent}`,
      action: "Make it for this user, or choose another folder with --data.",
    };
  }
};

/** Times small writes that are made durable one by one. */
const diskOf = (folder: string): Diagnosis => {
  const memory = memoryFileSystems.get(statfsSync(folder).type);
  if (memory)
    return {
      subject: "disk",
      result: "bad",
      found: `${folder} is on ${memory}, which is memory`,
      action: "Choose a folder on a disk: what is stored is gone with the next start of the machine.",
    };
  const file = join(folder, `doctor-${process.pid}.tmp`);
  const times: number[] = [];
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, "wx", 0o600);
    const bytes = new Uint8Array(syncBytes).fill(7);
    for (let index = 0; index < syncs; index++) {
      writeSync(descriptor, bytes, 0, syncBytes, index * syncBytes);
      const startMs = performance.now();
      fdatasyncSync(descriptor);
      times.push(performance.now() - startMs);
    }
  } catch (error) {
    return {
      subject: "disk",
      result: "bad",
      found: `no durable write in ${folder}: ${String(error)}`,
      action: "Check disk, mount and free space.",
    };
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
    rmSync(file, { force: true });
  }
  times.sort((a, b) => a - b);
  const [p50, p99] = [times[syncs >> 1] ?? 0, times[syncs - 1] ?? 0];
  const found = `a durable write takes ${p50.toFixed(2)} ms (p50), ${p99.toFixed(2)} ms at most of ${syncs}; ${cacheOf()}`;
  if (p50 < impossibleSyncMs)
    return {
      subject: "disk",
      result: "bad",
      found,
      action:
        "No disk is that fast: something between says durable and is not. Look for a write cache without battery, nobarrier, or a virtual disk with cache=unsafe.",
    };
  if (p50 > slowSyncMs)
    return {
      subject: "disk",
      result: "warning",
      found,
      action:
        "Each acknowledgement waits for one such write. Use a disk with power-loss protection, or expect that latency.",
    };
  return good("disk", found);
};

/** What the kernel knows of the drives' caches. */
const cacheOf = (): string => {
  try {
    const caches = readdirSync("/sys/block")
      .map((name) => [name, join("/sys/block", name, "queue", "write_cache")] as const)
      .filter(([name, file]) => !/^(loop|ram)/.test(name) && existsSync(file))
      .map(([name, file]) => `${name} ${readFileSync(file, "utf8").trim()}`);
    return caches.length > 0 ? `write cache: ${caches.join(", ")}` : "write cache unknown";
  } catch {
    return "write cache unknown";
  }
};

const spaceOf = (folder: string): Diagnosis => {
  const { bavail, blocks, bsize } = statfsSync(folder);
  const [free, total] = [bavail * bsize, blocks * bsize];
  const found = `${(free / 2 ** 30).toFixed(1)} GiB free of ${(total / 2 ** 30).toFixed(1)} GiB`;
  if (free < 512 * 2 ** 20)
    return {
      subject: "space",
      result: "bad",
      found,
      action: "Free space: the write-ahead log alone takes 128 MiB and more, and a full disk refuses messages.",
    };
  if (free < total * 0.1)
    return {
      subject: "space",
      result: "warning",
      found,
      action: "Less than a tenth is free: free space, or shorten retain.",
    };
  return good("space", found);
};

const descriptorsOf = (): Diagnosis => {
  try {
    const [, soft] = /Max open files\s+(\d+|unlimited)/.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    if (soft === undefined) throw new Error("no limit");
    const found = `${soft} open files are allowed`;
    if (soft !== "unlimited" && Number(soft) < 4096)
      return {
        subject: "descriptors",
        result: "warning",
        found,
        action: "Each connection takes one: raise it with ulimit -n or LimitNOFILE=.",
      };
    return good("descriptors", found);
  } catch {
    return { subject: "descriptors", result: "unknown", found: "the limit of open files cannot be read here" };
  }
};

const memoryOf = (): Diagnosis => {
  const bytes = process.constrainedMemory() || totalmem();
  const total = Math.min(bytes, totalmem());
  const found = `${(total / 2 ** 30).toFixed(1)} GiB memory, ${availableParallelism()} cores`;
  return total < 768 * 2 ** 20
    ? {
        subject: "memory",
        result: "warning",
        found,
        action: "Queries alone may take 640 MiB: give the machine 1 GiB or more.",
      }
    : good("memory", found);
};

/** Whether the wall clock goes as fast as the steady one, and whether somebody keeps it. */
const clockOf = async (): Promise<Diagnosis> => {
  const [wallMs, steadyMs] = [Date.now(), performance.now()];
  await sleep(300);
  const driftMs = Date.now() - wallMs - (performance.now() - steadyMs);
  if (Math.abs(driftMs) > 50)
    return {
      subject: "clock",
      result: "bad",
      found: `the wall clock jumped by ${Math.round(driftMs)} ms`,
      action: "Let one service keep the time, by slewing.",
    };
  if (Date.now() < Date.UTC(2025, 0, 1))
    return {
      subject: "clock",
      result: "bad",
      found: `it is ${new Date().toISOString()}`,
      action: "Set the clock: arrival times, windows and retention go by it.",
    };
  const synchronized = existsSync("/run/systemd/timesync/synchronized") || existsSync("/run/chrony/chronyd.pid");
  const found = `it is ${new Date().toISOString()}`;
  return synchronized
    ? good("clock", `${found}, kept by a time service`)
    : { subject: "clock", result: "unknown", found: `${found}; whether a time service keeps it cannot be seen here` };
};

const portOf = (host: string, port: number): Promise<Diagnosis> =>
  new Promise((answer) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) =>
      answer(
        error.code === "EADDRINUSE"
          ? {
              subject: "port",
              result: "warning",
              found: `port ${port} on ${host} is in use`,
              action: "Right if the node runs; otherwise stop the other program or choose another port.",
            }
          : {
              subject: "port",
              result: "bad",
              found: `port ${port} on ${host}: ${error.message}`,
              action: "Choose another port or address.",
            },
      ),
    );
    server.listen(port, host, () => server.close(() => answer(good("port", `port ${port} on ${host} is free`))));
  });

const nodeOf = (): Diagnosis => {
  const [major] = process.versions.node.split(".").map(Number) as [number];
  const found = `Node.js ${process.versions.node} on ${process.platform} ${process.arch}`;
  if (major % 2 === 1)
    return { subject: "node", result: "warning", found, action: "Use a version with long-term support: 24." };
  return good("node", found);
};

/**
 * Examines machine and data folder; takes about half a second.
 *
 * @throws HR_DATA_FOLDER_UNUSABLE when there is no folder to look at
 */
export const examine = async ({ dataFolder, host, ports, tls }: DoctorOptions): Promise<Diagnosis[]> => {
  const folder = resolve(dataFolder);
  const place = existing(folder);
  if (place === dirname(place))
    throw new HeadraceError("HR_DATA_FOLDER_UNUSABLE", `no folder of ${folder} exists`, { data: { folder } });
  const folders = existsSync(folder) ? folderOf(folder) : parentOf(folder, place);
  const canWrite = folders.result !== "bad";
  return [
    nodeOf(),
    folders,
    ...(canWrite ? [diskOf(place)] : []),
    spaceOf(place),
    descriptorsOf(),
    memoryOf(),
    await clockOf(),
    ...(await Promise.all(ports.map((port) => portOf(host, port)))),
    ...(tls
      ? examineTls(tls.files, tls.names, Date.now()).map((found) => ({ subject: "tls" as const, ...found }))
      : []),
  ];
};
