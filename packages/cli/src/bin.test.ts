/** Goal: the command says what to do on an old Node.js, in syntax that an old Node.js can read. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const bin = fileURLToPath(new URL("./bin.ts", import.meta.url));
const run = (...before: string[]) =>
  spawnSync(process.execPath, ["--conditions=headrace-source", ...before, bin, "--version"], { encoding: "utf8" });

test("it runs here", () => {
  expect(run()).toMatchObject({ status: 0, stdout: "0.1.0\n" });
});

test("on Node.js 20 it names the version found and ends with 1", () => {
  const old = 'data:text/javascript,Object.defineProperty(process,"versions",{value:{node:"20.11.1"}})';
  const { status, stdout, stderr } = run("--import", old);
  expect([status, stdout]).toEqual([1, ""]);
  expect(stderr).toContain("this is Node.js 20.11.1");
  expect(stderr).toContain("[HR_NODE_VERSION]");
});

test("its text is JavaScript as it stands", () => {
  const script = readFileSync(bin, "utf8").replace(/^#!.*\n/, "");
  expect(() => new Function(script.replace('import("./main.ts")', "0"))).not.toThrow();
});
