/**
 * Goal: a thousand devices at once are no trouble.
 * Method: they connect in one go, send for some seconds and leave; nothing may be refused, lost or left behind.
 */
import { expect, test } from "vitest";
import { command, Running, temporaryFolder } from "./node-process.ts";

test("a thousand devices connect at once, and everything they send is acknowledged and processed", async () => {
  using folder = temporaryFolder();
  const ports = ["--mqtt-port", "0", "--http-port", "0", "--data", folder.path];
  const load = ["--fleet", "--devices", "1000", "--rate", "2", "--duration", "14s", "--json"];
  await using running = new Running(process.execPath, [...command, "start", "examples/factory", ...ports, ...load]);
  const { code, stdout, stderr } = await running.ended;
  expect(code, stderr).toBe(0);
  const objects = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const summary = objects.at(-1)!;
  expect(summary.sent).toBeGreaterThan(5_000);
  expect(summary).toMatchObject({ acknowledged: summary.sent, stored: summary.sent, processed: summary.sent });
  const frames = objects.filter((object) => "elapsedSeconds" in object);
  expect(Math.max(...frames.map(({ devices }) => Number(devices)))).toBe(1000);
  expect(frames.at(-1)).toMatchObject({ refused: 0, rejected: 0, failed: 0 });
});
