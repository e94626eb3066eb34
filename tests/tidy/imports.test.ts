/**
 * Goal: the import rules of .dependency-cruiser.cjs hold, and would be noticed if they did not.
 * Method: run dependency-cruiser over the real tree, and over a planted tree with one violation per rule.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { repositoryRoot } from "./repository.ts";

interface Report {
  readonly modules: ReadonlyArray<{ source: string }>;
  readonly summary: { violations: ReadonlyArray<{ from: string; to: string; rule: { name: string } }> };
}

function cruise(folder: string, paths: string[]): Report {
  const bin = join(repositoryRoot, "node_modules/dependency-cruiser/bin/dependency-cruiser.mjs");
  const config = join(repositoryRoot, ".dependency-cruiser.cjs");
  const run = spawnSync(process.execPath, [bin, "--config", config, "--output-type", "json", ...paths], {
    cwd: folder,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (run.stdout === "") throw new Error(`dependency-cruiser said nothing: ${run.stderr}`);
  return JSON.parse(run.stdout) as Report;
}

function violationsOf(report: Report): string[] {
  return report.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`).sort();
}

describe("the real tree", () => {
  test("was read, and breaks no import rule", () => {
    const report = cruise(repositoryRoot, ["packages", "examples", "bench", "tests"]);
    const read = report.modules.filter(({ source }) => source.startsWith("packages/") && source.endsWith(".ts"));
    expect(read.length).toBeGreaterThan(0);
    expect(violationsOf(report)).toEqual([]);
  });
});

/** Each file breaks exactly the rule on its right, or none. A cycle is reported once, at its first module. */
const planted: ReadonlyArray<{ path: string; source: string; breaks: string | null }> = [
  { path: "packages/sdk/src/index.ts", source: "export const a = 1;", breaks: null },
  {
    path: "packages/sdk/src/typeOnly.ts",
    source: 'import type { a } from "@headrace/engine"; export type A = typeof a;',
    breaks: "sdk-imports-only-what-its-row-allows",
  },
  { path: "packages/engine/src/index.ts", source: 'export { a } from "@headrace/sdk";', breaks: null },
  { path: "packages/engine/src/file.ts", source: 'import "node:fs";', breaks: "engine-runs-without-node" },
  { path: "packages/engine/src/file.test.ts", source: 'import "node:fs";', breaks: null },
  { path: "packages/engine/src/vendor.ts", source: 'import "vendor";', breaks: "engine-has-no-other-dependencies" },
  {
    path: "packages/engine/src/up.ts",
    source: 'import "@headrace/server";',
    breaks: "engine-imports-only-what-its-row-allows",
  },
  { path: "packages/mqtt/src/index.ts", source: 'import "mqtt-packet";', breaks: null },
  { path: "packages/mqtt/src/vendor.ts", source: 'import "vendor";', breaks: "mqtt-has-no-other-dependencies" },
  {
    path: "packages/server/src/index.ts",
    source: 'import "./gateway/index.ts"; import "./log/index.ts";',
    breaks: null,
  },
  { path: "packages/server/src/log/index.ts", source: 'export { wal } from "./wal.ts";', breaks: null },
  { path: "packages/server/src/log/wal.ts", source: "export const wal = 1;", breaks: null },
  { path: "packages/server/src/gateway/index.ts", source: 'import "../log/index.ts";', breaks: null },
  {
    path: "packages/server/src/gateway/back.ts",
    source: 'import "../log/wal.ts";',
    breaks: "log-meets-others-at-index",
  },
  { path: "packages/server/src/byPath.ts", source: 'import "../../sdk/src/index.ts";', breaks: "packages-by-name" },
  {
    path: "packages/server/src/edge.ts",
    source: 'import "../../../tests/src/helper.ts";',
    breaks: "nothing-imports-the-edges",
  },
  { path: "packages/server/src/even.ts", source: 'import "./odd.ts";', breaks: "no-cycles" },
  { path: "packages/server/src/odd.ts", source: 'import "./even.ts";', breaks: null },
  { path: "packages/server/src/gone.ts", source: 'import "./nowhere.ts";', breaks: "imports-resolve" },
  {
    path: "packages/simulator/src/index.ts",
    source: 'import "@headrace/engine";',
    breaks: "simulator-imports-only-what-its-row-allows",
  },
  {
    path: "packages/testkit/src/index.ts",
    source: 'import "@headrace/server";',
    breaks: "testkit-imports-only-what-its-row-allows",
  },
  { path: "packages/cli/src/index.ts", source: 'import "@headrace/server";', breaks: null },
  {
    path: "packages/cli/src/wire.ts",
    source: 'import "@headrace/mqtt";',
    breaks: "cli-imports-only-what-its-row-allows",
  },
  { path: "tests/src/helper.ts", source: "export const helper = 1;", breaks: null },
];

describe("a planted tree", () => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-imports-"));

  function write(path: string, content: string): void {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }

  beforeAll(() => {
    write("package.json", JSON.stringify({ name: "planted", type: "module" }));
    for (const name of ["sdk", "engine", "mqtt", "server", "simulator", "testkit"]) {
      const exports = { ".": { "headrace-source": "./src/index.ts", default: "./dist/index.js" } };
      write(`packages/${name}/package.json`, JSON.stringify({ name: `@headrace/${name}`, type: "module", exports }));
      mkdirSync(join(folder, "node_modules/@headrace"), { recursive: true });
      symlinkSync(join(folder, "packages", name), join(folder, "node_modules/@headrace", name));
    }
    for (const name of ["vendor", "mqtt-packet"]) {
      write(`node_modules/${name}/package.json`, JSON.stringify({ name, main: "index.js" }));
      write(`node_modules/${name}/index.js`, "module.exports = 1;");
    }
    for (const { path, source } of planted) write(path, source);
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("is reported file by file", () => {
    const report = cruise(folder, ["packages", "tests"]);
    const reported = report.summary.violations.map(({ rule, from }) => `${from} breaks ${rule.name}`);
    const expected = planted.flatMap(({ path, breaks }) => (breaks === null ? [] : [`${path} breaks ${breaks}`]));
    expect([...new Set(reported)].sort()).toEqual(expected.sort());
  });
});
