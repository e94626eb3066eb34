/**
 * Goal: the examples in the sources' documentation run, and give what their comments say.
 * Method: every `ts` block of a TSDoc `@example` runs with the sdk's exports in scope; `expression; // => value`
 * is compared, and a block that begins with `throw` must throw.
 */
import { readdirSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import * as sdk from "../src/index.ts";

const folder = fileURLToPath(new URL("../src/", import.meta.url));

const examples = readdirSync(folder)
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .flatMap((file) =>
    [...readFileSync(folder + file, "utf8").matchAll(/@example\n \* ```ts\n([\s\S]*?) \* ```/g)].map(
      (match, index) => ({
        name: `${file} ${index + 1}`,
        code: match[1]!.replace(/^ \* ?/gm, ""),
      }),
    ),
  );

function run(code: string): void {
  const checked = code.replace(/^(.+?);? \/\/ => (.+)$/gm, (_line, actual, wanted) => `check(${actual}, ${wanted});`);
  const check = (actual: unknown, wanted: unknown) => expect(actual).toEqual(wanted);
  const scope = { ...sdk, check };
  // Blank types only: what is left is JavaScript, in a function so that each example has its own names.
  const body = stripTypeScriptTypes(`"use strict";${checked}`);
  new Function(...Object.keys(scope), body)(...Object.values(scope));
}

test("there are examples", () => {
  expect(examples.length).toBeGreaterThanOrEqual(6);
});

test.each(examples)("$name", ({ code }) => {
  if (code.startsWith("throw ")) expect(() => run(code)).toThrow(sdk.HeadraceError);
  else run(code);
});
