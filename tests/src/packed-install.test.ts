/**
 * Goal: what is published works where nothing of the repository is near: no sources, no export condition.
 * Method: build, pack every package, install the tarballs into an empty folder, and run the command and a function there.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "headrace-packed-"));
const project = join(folder, "project");

// The Node of this test comes first, and neither options nor packages of the repository are inherited.
const environment = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_(?!EXTRA_CA_CERTS)|INIT_CWD|VITEST)/.test(name)),
  ),
  PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
};

function run(cwd: string, command: string, ...args: string[]): string {
  return execFileSync(command, args, {
    cwd,
    env: environment,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 240_000,
  });
}

beforeAll(() => {
  run(root, process.execPath, "tools/build.ts");
  mkdirSync(project);
  const packages = readdirSync(join(root, "packages")).map((name) => `./packages/${name}`);
  run(root, "npm", "pack", "--silent", "--pack-destination", folder, ...packages);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  const tarballs = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  expect(tarballs).toHaveLength(packages.length);
  run(
    project,
    "npm",
    "install",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    ...tarballs.map((name) => `../${name}`),
    "zod@4.6.7",
  );
}, 300_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("headrace --version prints the version of the package", () => {
  const manifest = JSON.parse(readFileSync(join(root, "packages/cli/package.json"), "utf8")) as { version: string };
  expect(run(project, "npx", "headrace", "--version").trim()).toContain(manifest.version);
});

test("a function runs from the installed packages", () => {
  writeFileSync(
    join(project, "count.mjs"),
    `import { app, mqtt } from "headrace";
     import { testApp } from "headrace/testkit";
     import * as z from "zod";
     const planted = app("planted");
     const readings = planted.stream("readings", {
       from: mqtt("pumps/:device"), schema: z.object({ temperature: z.number() }),
     });
     planted.function("count", { on: readings, state: () => ({ seen: 0 }) }, (reading, { state, alert }) => {
       state.seen += 1;
       if (state.seen === 2) alert.raise("twice", { severity: "info" });
     });
     const t = await testApp(planted);
     await t.device("p1").publish("pumps/p1", { temperature: 1 });
     await t.device("p1").publish("pumps/p1", { temperature: 2 });
     console.log(JSON.stringify(t.alerts().map(({ name }) => name)));`,
  );
  expect(run(project, process.execPath, "count.mjs").trim()).toBe('["twice"]');
});

test("the installed command runs an application, and every thread and process of it", async () => {
  const headrace = join(project, "node_modules/.bin/headrace");
  const data = ["--data", join(project, "data")];
  expect(run(project, headrace, "init", "pumps")).toContain("wrote  app.ts");
  const node = spawn(headrace, ["start", "pumps", ...data, "--mqtt-port", "0", "--http-port", "0"], {
    cwd: project,
    env: environment,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const ended = new Promise((resolve) => node.once("close", (code) => resolve(code)));
  try {
    await expect.poll(() => existsSync(join(project, "data/node.json")), { timeout: 60_000 }).toBe(true);
    for (const temperature of [95, 96, 97]) {
      run(project, headrace, "send", "readings", JSON.stringify({ temperature }), "--device", "s1", ...data);
    }
    const alert = run(project, headrace, "tail", "alerts", "--from", "start", "--limit", "1", "--json", ...data);
    expect(JSON.parse(alert)).toMatchObject({ device: "s1", value: { name: "overheating", status: "raised" } });
    const rows = run(project, headrace, "query", "select sum(temperature) from readings", "--json", ...data);
    expect(JSON.parse(rows)).toMatchObject({ rows: [[288]] });
  } finally {
    node.kill("SIGINT");
  }
  expect(await ended).toBe(0);
});
