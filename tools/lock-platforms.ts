/**
 * npm leaves a platform's binary out of package-lock.json when the registry at hand does not serve it, and `npm ci`
 * then refuses the lock, on that machine and on others. `npm run lock:platforms` adds what is missing: entries with
 * version, system and processor, taken from the package's name. They carry no integrity, because nobody here has
 * seen the bytes; npm adds it where it can fetch them.
 */
import { readFileSync, writeFileSync } from "node:fs";

export interface LockEntry {
  readonly version?: string;
  readonly dev?: boolean;
  readonly license?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [other: string]: unknown;
}

export type LockPackages = Readonly<Record<string, LockEntry>>;

const systems = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];

/** Optional dependencies that a package of the lock names and the lock lacks, by their place in the lock. */
export function missingPlatforms(packages: LockPackages): Record<string, LockEntry> {
  const missing: Record<string, LockEntry> = {};
  for (const [path, entry] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const place = `node_modules/${name}`;
      if (place in packages || `${path}/${place}` in packages) continue;
      missing[place] = platformEntry(name, version, entry);
    }
  }
  return missing;
}

function platformEntry(name: string, version: string, parent: LockEntry): LockEntry {
  const words = name.replace(/^@[^/]+\//, "").split("-");
  const at = words.findIndex((word) => systems.includes(word));
  const system = words[at];
  const processor = words[at + 1];
  if (at < 0 || system === undefined || processor === undefined) {
    throw new Error(`lock: ${name}@${version} is missing, and its name tells no platform; run npm install`);
  }
  const abi = words[at + 2] ?? "";
  const libc = system !== "linux" || abi === "" ? undefined : abi.startsWith("musl") ? "musl" : "glibc";
  return {
    version,
    cpu: [processor],
    ...(parent.dev && { dev: true }),
    ...(libc && { libc: [libc] }),
    ...(parent.license && { license: parent.license }),
    optional: true,
    os: [system],
  };
}

function main(): void {
  const file = new URL("../package-lock.json", import.meta.url);
  const lock = JSON.parse(readFileSync(file, "utf8")) as { packages: LockPackages };
  const missing = missingPlatforms(lock.packages);
  const packages = { ...lock.packages, ...missing };
  const sorted = Object.fromEntries(Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(file, `${JSON.stringify({ ...lock, packages: sorted }, null, 2)}\n`);
  console.log(`lock: ${Object.keys(missing).length} platforms added`);
}

if (import.meta.main) main();
