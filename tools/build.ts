/**
 * Builds what is published: `npm run build`. One run of tsc compiles the sources of all packages into build/, with
 * declarations; each package then gets its part as dist/, the files of its sources that are not TypeScript (templates),
 * and the licence. Nothing in the repository itself needs the result (ADR 0005).
 */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const built = join(root, "build");

function main(): void {
  rmSync(built, { recursive: true, force: true });
  compile();
  for (const name of readdirSync(join(root, "packages"))) assemble(name);
}

function compile(): void {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const run = spawnSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json")], { stdio: "inherit" });
  if (run.status !== 0) {
    console.error("build: tsc reported errors, nothing was assembled");
    process.exit(1);
  }
}

function assemble(name: string): void {
  const folder = join(root, "packages", name);
  const dist = join(folder, "dist");
  rmSync(dist, { recursive: true, force: true });
  cpSync(join(built, "packages", name, "src"), dist, { recursive: true });
  cpSync(join(folder, "src"), dist, { recursive: true, filter: (path) => !/\.ts$/.test(path) });
  cpSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  for (const bin of binsOf(folder)) {
    if (!existsSync(bin)) throw new Error(`build: ${bin} is named in bin of packages/${name} but was not built`);
    chmodSync(bin, 0o755);
  }
}

function binsOf(folder: string): string[] {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { bin?: Record<string, string> };
  return Object.values(manifest.bin ?? {}).map((path) => join(folder, path));
}

main();
