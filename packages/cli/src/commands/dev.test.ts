/** Goal: a change of the application's files is noticed once; data, tests and packages are not. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
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

test("a burst of writes is one change; the data folder is not watched", async () => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-dev-"));
  mkdirSync(join(folder, "data"));
  const changes: string[] = [];
  const watcher = watchSources(folder, join(folder, "data"), async (file) => void changes.push(file));
  await new Promise((resolve) => setTimeout(resolve, 100));
  writeFileSync(join(folder, "data", "node.json"), "{}");
  for (let i = 0; i < 5; i++) writeFileSync(join(folder, "app.ts"), `${i}`);
  await new Promise((resolve) => setTimeout(resolve, 400));
  watcher.close();
  rmSync(folder, { recursive: true });
  expect(changes).toEqual(["app.ts"]);
});
