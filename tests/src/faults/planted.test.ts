/**
 * Goal: the tests of faults find what they are there for.
 * Method: each planted bug is put into the sources in turn, and the test that is named for it is run: it has to fail.
 */
import { expect, test } from "vitest";
import { plantedBugs } from "../../planted/index.ts";
import { finders, missed } from "./planted-runs.ts";

test("every planted bug has a test that finds it", () => {
  expect(Object.keys(finders).sort()).toEqual(plantedBugs.map(({ name }) => name).sort());
});

test.each(Object.keys(finders))("planted bug %s is found", { timeout: 300_000 }, async (bug) => {
  expect(await missed(bug)).toBeUndefined();
});
