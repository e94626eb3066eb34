/**
 * Goal: every planted bug can be planted in the sources as they are, and does what it is meant to in a process and its threads.
 * Method: apply each edit; run a small program with a bug in it, on its main thread and in a worker without an environment.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { plant, plantedArgs, plantedBugs } from "../planted/index.ts";
import { repositoryRoot, textOf } from "./repository.ts";

test.each(plantedBugs.map((bug) => [bug.name, bug] as const))("%s: its place occurs exactly once", (_name, bug) => {
  const source = textOf(bug.file) ?? "";
  expect(plant(bug, source)).not.toBe(source);
});

test("an edit whose place is gone, or is there twice, is an error that names the bug", () => {
  const bug = { name: "none", file: "a.ts", find: "b", replace: "c" };
  expect(() => plant(bug, "aa")).toThrow(/none: its place occurs 0 times in a.ts/);
  expect(() => plant(bug, "abab")).toThrow(/occurs 2 times/);
  expect(plant(bug, "aba")).toBe("aca");
});

test.each([
  [undefined, ["false true", "true true"]],
  ["timer-fires-twice", ["false false", "true false"]],
])("bug %s is in the process and in its worker threads", (name, expected) => {
  const args = ["--conditions=headrace-source", "--disable-warning=ExperimentalWarning", ...plantedArgs(name)];
  const output = execFileSync(process.execPath, [...args, join(repositoryRoot, "tests/planted/probe.ts")], {
    encoding: "utf8",
  });
  expect(output.trim().split("\n").sort()).toEqual(expected);
});
