/** Goal: a run ends by its duration, by Ctrl-C or with its node, and always closes the node once. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HeadraceError } from "@headrace/sdk";
import { afterEach, expect, test } from "vitest";
import { type FakeNode, fakeNode } from "../../test/fake-node.ts";
import type { Display } from "../display/display.ts";
import { fleetFile } from "./fleet.ts";
import { type RunOptions, runNode } from "./run-node.ts";

const folder = mkdtempSync(join(tmpdir(), "headrace-run-"));
afterEach(() => rmSync(join(folder, "fleet.ts"), { force: true }));

const options: RunOptions = {
  app: folder,
  dataFolder: folder,
  host: "127.0.0.1",
  listeners: [],
  httpPort: 0,
  frames: true,
};
const shown = (): Display & { readonly log: string[] } => {
  const log: string[] = [];
  const put = (what: string) => () => void log.push(what);
  return {
    log,
    begin: put("begin"),
    frame: put("frame"),
    alert: put("alert"),
    note: (text) => void log.push(text),
    end: put("end"),
  };
};
const run = (node: FakeNode, more: Partial<RunOptions> = {}, interrupted = new AbortController().signal) => {
  const display = shown();
  const result = runNode({ ...options, ...more }, { startNode: async () => node, display, interrupted });
  return { display, result };
};

test("after its duration it waits until everything stored is processed, and sums up", async () => {
  const node = fakeNode(folder);
  const behind = (lagEvents: number) => node.current.tasks.map((task) => ({ ...task, lagEvents }));
  node.current = { ...node.current, stored: 6, tasks: behind(5) };
  const { display, result } = run(node, { durationMs: 1200 });
  setTimeout(() => node.alert({ name: "hot", device: "p1", state: "raised", severity: "info", timeMs: 0 }), 100);
  setTimeout(() => {
    node.current = { ...node.current, processed: 5, tasks: behind(0) };
  }, 1600);
  expect(await result).toMatchObject({ stored: 6, processed: 5, sent: 0, firstAlertSeconds: expect.any(Number) });
  expect(display.log).toEqual(["begin", "alert", "frame", "frame", "end"]);
  expect(node.closes).toBe(1);
});

test("Ctrl-C ends it without waiting", async () => {
  const node = fakeNode(folder);
  node.current.stored = 5;
  const interrupted = new AbortController();
  const { result } = run(node, { durationMs: 60_000 }, interrupted.signal);
  const startedMs = performance.now();
  setTimeout(() => interrupted.abort(), 50);
  await result;
  expect(performance.now() - startedMs).toBeLessThan(1000);
  expect(node.closes).toBe(1);
});

test("a node that had to stop ends the run with its error", async () => {
  const node = fakeNode(folder);
  const { result } = run(node);
  setTimeout(() => node.crash(new HeadraceError("HR_LOG_FAILED", "the disk is gone")), 20);
  await expect(result).rejects.toMatchObject({ code: "HR_LOG_FAILED" });
  expect(node.closes).toBe(0);
});

test("a fleet that does not exist or load is named, and the node is closed", async () => {
  expect(() => fleetFile(folder, true)).toThrow(`there is no fleet ${join(folder, "fleet.ts")}`);
  writeFileSync(join(folder, "fleet.ts"), "export default 1;");
  expect(fleetFile(join(folder, "app.ts"), true)).toBe(join(folder, "fleet.ts"));
  const node = fakeNode(folder);
  const { result } = run(node, { fleet: true });
  await expect(result).rejects.toMatchObject({
    code: "HR_APP_LOAD_FAILED",
    message: expect.stringContaining("defineFleet"),
  });
  expect(node.closes).toBe(1);
});
