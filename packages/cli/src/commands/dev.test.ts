/** Goal: a change of the application's files is noticed once; data, tests and packages are not. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isSource, watchSources } from "./dev.ts";

test.each([
  ["app.ts", true],
  ["lib/rules.js", true],
  ["limits.json", true],
  ["app.test.ts", false],
  ["README.md", false],
  ["node_modules/zod/index.js", false],
  [".headrace/node.json", false],
  [".git/x.json", false],
])("%s: %s", (path, expected) => {
  expect(isSource(path)).toBe(expected);
});

test("a burst of writes is one change, also when the file is replaced; folders of imported files are followed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-dev-"));
  const library = join(folder, "library");
  const app = join(folder, "app.ts");
  for (const path of [library, join(folder, "data")]) mkdirSync(path);
  writeFileSync(app, "");
  const changes: string[] = [];
  const sources = watchSources(app, async (file) => void changes.push(file));
  const settle = () => new Promise((resolve) => setTimeout(resolve, 300));
  writeFileSync(join(folder, "data", "node.json"), "{}");
  for (let i = 0; i < 5; i++) writeFileSync(app, `${i}`);
  await settle();
  writeFileSync(join(folder, "new"), "6");
  renameSync(join(folder, "new"), app);
  await settle();
  writeFileSync(app, "7");
  await settle();
  writeFileSync(join(library, "rules.ts"), "1");
  await settle();
  expect(changes).toEqual(["app.ts", "app.ts", "app.ts"]);
  sources.follow([join(library, "rules.ts")]);
  writeFileSync(join(library, "rules.ts"), "2");
  await settle();
  expect(changes).toEqual(["app.ts", "app.ts", "app.ts", "rules.ts"]);
  sources[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});
