/**
 * Goal: the error catalogue, its page in the docs and the code agree, in both directions.
 * Method: compare the page with what the catalogue generates, and the codes with the literals in the sources.
 */
import { errorCatalogue } from "@headrace/sdk";
import { expect, test } from "vitest";
import { errorPage } from "../../tools/error-page.ts";
import { type SourceFile, shippedSources, textOf } from "./repository.ts";

const catalogueFile = "packages/sdk/src/errors.ts";

/** Codes in string literals. An environment variable (`HR_…` after `env.`) is not one. */
function codesIn(files: readonly SourceFile[]): Set<string> {
  const codes = new Set<string>();
  for (const { text } of files) {
    for (const [, code] of text.matchAll(/["'`](HR_[A-Z][A-Z_]*)["'`]/g)) codes.add(code as string);
  }
  return codes;
}

const catalogued = Object.keys(errorCatalogue);
const sources = shippedSources().filter(({ path }) => path !== catalogueFile);

test("docs/reference/errors.md says what the catalogue says (npm run docs:errors writes it)", () => {
  expect(textOf("docs/reference/errors.md")).toBe(errorPage(errorCatalogue));
});

test("every code in the page has a heading, and a code that is added or removed changes the page", () => {
  const page = errorPage(errorCatalogue);
  const headings = [...page.matchAll(/^### (HR_[A-Z_]+)$/gm)].map(([, code]) => code);
  expect(headings).toEqual([...catalogued].sort());
  const planted = { summary: "Planted.", action: "Nothing.", retry: "safe" as const };
  expect(errorPage({ ...errorCatalogue, HR_PLANTED: planted })).not.toBe(page);
});

test("every code that the sources name is in the catalogue", () => {
  expect([...codesIn(sources)].filter((code) => !catalogued.includes(code))).toEqual([]);
});

test("every code of the catalogue is used by the sources", () => {
  const used = codesIn(sources);
  expect(catalogued.filter((code) => !used.has(code))).toEqual([]);
});

test("codes are found in a planted source, and only as whole literals", () => {
  const text = `throw new HeadraceError("HR_ONE", "HR_TWO happened"); log('HR_THREE');`;
  expect([...codesIn([{ path: "a.ts", text }])]).toEqual(["HR_ONE", "HR_THREE"]);
});

test("the catalogue is sorted", () => {
  expect(catalogued).toEqual([...catalogued].sort());
});
