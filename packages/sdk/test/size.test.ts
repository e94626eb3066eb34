/**
 * Goal: the authoring API stays small enough to be bundled into every function that is deployed.
 * Method: bundle what an application imports. The error catalogue is measured apart: it is prose that grows with
 * the platform, and the runtime that such a bundle also holds needs it anyway.
 */
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { expect, test } from "vitest";

const source = fileURLToPath(new URL("../src/", import.meta.url));
const api = 'export { app, count, http, isCommand, max, mean, min, mqtt, sum, tumbling } from "./index.ts";';

async function minifiedBytes(external: readonly string[]): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: api, resolveDir: source, loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    external: [...external],
  });
  return outputFiles[0]!.contents.length;
}

test("the authoring API is at most 8 KB minified", async () => {
  expect(await minifiedBytes([`${source}errors.ts`])).toBeLessThanOrEqual(8 * 1024);
});

test("with the error catalogue it is at most 24 KB", async () => {
  expect(await minifiedBytes([])).toBeLessThanOrEqual(24 * 1024);
});
