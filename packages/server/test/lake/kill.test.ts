/** Goal: a lake that is killed at any point neither loses nor doubles a row. Method: a child that is killed at random times, then let finish; SQL counts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { temporaryFolder } from "./harness.ts";

const child = fileURLToPath(new URL("./kill-child.ts", import.meta.url));
const blocks = 120;
const start = (folder: string, mode: string) =>
  spawn(
    process.execPath,
    ["--conditions=headrace-source", "--disable-warning=ExperimentalWarning", child, folder, String(blocks), mode],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );

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
  const finished = start(folder.path, "finish");
  let output = "";
  finished.stdout.on("data", (data: Buffer) => {
    output += data;
  });
  const [code] = await once(finished, "exit");
  expect(code).toBe(0);
  const records = blocks * 200;
  expect(JSON.parse(output)).toMatchObject({ row: [records, records, records - 1, records] });
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
