/**
 * Goal: every fault that can be tried on this version is tried by `npm run faults`, under its id.
 * Method: looks for the ids in the names of tests as the command does.
 */
import { expect, test } from "vitest";
import { filesBelow } from "./repository.ts";

/** Storage S1 to S22 and those of processes that are built. */
const faults = [...Array.from({ length: 22 }, (_, index) => `S${index + 1}`), "P1", "P2", "P14", "P15", "P16"];

/** The ids that names of tests begin with, with a colon behind them. */
const idsIn = (text: string): string[] =>
  [...text.matchAll(/(?:test|describe)[^"`]*?["`]((?:[SP]\d+(?:, )?)+): /g)].flatMap(([, ids = ""]) => ids.split(", "));

test("every fault of storage and every fault of processes that is built has a test under its id", () => {
  const files = ["packages", "tests"].flatMap((folder) => filesBelow(folder, (path) => path.endsWith(".test.ts")));
  const found = new Set(files.flatMap(({ text }) => idsIn(text)));
  expect(faults.filter((id) => !found.has(id))).toEqual([]);
});

test("an id without a colon is not taken for one", () => {
  expect(idsIn('test("S98 a fault", () => {})')).toEqual([]);
  expect(idsIn('test.each(x)("S98, P99: a fault", () => {})')).toEqual(["S98", "P99"]);
});
