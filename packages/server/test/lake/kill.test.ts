/** Goal: a lake that is killed at any point neither loses nor doubles a row. Method: a child that is killed at random times, then let finish; SQL counts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { temporaryFolder } from "./harness.ts";

const child = fileURLToPath(new URL("./kill-child.ts", import.meta.url));
const blocks = 120;
const records = blocks * 200;
const start = (folder: string, mode: string, prefix: readonly string[] = []) => {
  const node = [process.execPath, "--conditions=headrace-source", "--disable-warning=ExperimentalWarning"];
  const [file = "", ...args] = [...prefix, ...node, child, folder, String(blocks), mode];
  return spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
};

/** Lets the lake take in what is left: rows, different values of each, the largest. */
const finished = async (folder: string): Promise<unknown> => {
  const ending = start(folder, "finish");
  let output = "";
  ending.stdout.on("data", (data: Buffer) => {
    output += data;
  });
  const [code] = await once(ending, "exit");
  expect(code).toBe(0);
  return (JSON.parse(output) as { row: unknown }).row;
};

test("S21: kill -9 at any point: every record of the log is one row", { timeout: 90_000 }, async () => {
  using folder = temporaryFolder();
  let killedRounds = 0;
  let seed = Number(process.env.HEADRACE_SEED ?? 7);
  for (let round = 0; round < 9; round++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const killed = start(folder.path, "run");
    const ended = once(killed, "exit");
    killed.once("exit", (_, signal) => {
      if (signal === "SIGKILL") killedRounds++;
    });
    await Promise.race([ended, pause(250 + (seed / 2 ** 32) * 900)]);
    killed.kill("SIGKILL");
    await ended;
  }
  expect(killedRounds).toBeGreaterThan(2);
  expect(await finished(folder.path)).toEqual([records, records, records - 1, records]);
});

/** A file takes three syncs and a rename, its step in the manifest a write and a sync; each run has to get this far with what is left. */
const steps = [
  ["rename", 1],
  ["fsync", 3],
  ["pwrite64", 2],
  ["rename", 2],
  ["fsync", 6],
] as const;

test("S21: killed at a step between file and manifest, every record is one row", { timeout: 180_000 }, async () => {
  using folder = temporaryFolder();
  for (const [call, when] of steps) {
    const inject = `${call}:signal=SIGKILL:when=${when}`;
    const strace = ["-f", "-qq", "-o", "/dev/null", "-e", `trace=${call}`, "-e", `inject=${inject}`];
    const killed = start(folder.path, "run", ["strace", ...strace]);
    const [, signal] = await once(killed, "exit");
    expect([call, when, signal]).toEqual([call, when, "SIGKILL"]);
  }
  expect(await finished(folder.path)).toEqual([records, records, records - 1, records]);
});

test("the process can end while a file is being written", { timeout: 30_000 }, async () => {
  for (let round = 0; round < 2; round++) {
    using folder = temporaryFolder();
    const ending = start(folder.path, "exit");
    const timer = setTimeout(() => ending.kill("SIGKILL"), 20_000);
    const [code] = await once(ending, "exit");
    clearTimeout(timer);
    expect(code).toBe(3);
  }
});
