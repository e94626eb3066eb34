/**
 * Goal: `npm start` does the main job, and goes on with it when it is started again.
 * Method: the command of the README on a fresh data folder; then again on the same folder, stopped by Ctrl-C in the middle;
 * then a node without devices, which is asked what all of that left behind.
 */
import { join } from "node:path";
import { expect, test } from "vitest";
import { command, NodeProcess, Running, repository, soon, storedIn, temporaryFolder } from "./node-process.ts";

interface Frame {
  readonly elapsedSeconds: number;
  readonly messagesPerSecond: number;
  readonly stored: number;
  readonly ackLatencyMs?: { readonly p50: number; readonly p99: number };
  readonly devices: number;
  readonly functionRuns: number;
  readonly rows: number;
  readonly alertChanges: readonly unknown[];
}

interface Summary {
  readonly sent: number;
  readonly acknowledged: number;
  readonly stored: number;
  readonly processed: number;
  readonly alerts: number;
  readonly commands: { readonly sent: number; readonly acknowledged: number };
  readonly rows: number;
  readonly ackLatencyMs: { readonly p50: number; readonly p99: number };
  readonly firstAlertSeconds: number;
}

/** The objects of `--json`: where the node is, a frame a second, the summary. */
function read(stdout: string): { started: object[]; frames: Frame[]; summary: Summary | undefined } {
  const objects = stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as object);
  return {
    started: objects.filter((object) => "started" in object),
    frames: objects.filter((object): object is Frame => "elapsedSeconds" in object),
    summary: objects.find((object): object is Summary => "firstAlertSeconds" in object),
  };
}

const options = (data: string, duration: string): string[] => [
  "--data",
  data,
  "--mqtt-port",
  "0",
  "--http-port",
  "0",
  "--duration",
  duration,
  "--json",
];

test("npm start stores, processes, alerts and commands; started again it goes on; Ctrl-C stops it", async () => {
  using folder = temporaryFolder();
  await using once = new Running("npm", ["start", "--", ...options(folder.path, "10s")], { group: true });
  const ended = await once.ended;
  expect(ended, ended.stderr).toMatchObject({ code: 0 });
  const first = read(ended.stdout);
  expect(first.started).toEqual([
    {
      started: {
        application: "factory",
        dataFolder: folder.path,
        apiUrl: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
        mqttUrl: expect.stringMatching(/^mqtt:\/\/127\.0\.0\.1:\d+$/),
      },
    },
  ]);
  expect(first.frames.length).toBeGreaterThanOrEqual(5);
  expect(first.frames.length).toBeLessThanOrEqual(11);
  expect(first.frames.at(-1)).toMatchObject({
    messagesPerSecond: expect.any(Number),
    ackLatencyMs: { p50: expect.any(Number), p99: expect.any(Number) },
    devices: 100,
    alertChanges: expect.any(Array),
  });
  for (const [index, frame] of first.frames.slice(1).entries()) {
    expect(frame.stored).toBeGreaterThanOrEqual(first.frames[index]!.stored);
  }
  const { summary } = first;
  if (!summary) throw new Error(`no summary in ${ended.stdout}`);
  // 100 pumps with 20 messages a second.
  expect(summary.sent).toBeGreaterThan(5_000);
  expect(summary.sent).toBeLessThan(25_000);
  expect(summary).toMatchObject({ acknowledged: summary.sent, stored: summary.sent, processed: summary.sent });
  expect(summary.alerts).toBeGreaterThanOrEqual(1);
  expect(summary.commands.acknowledged).toBeGreaterThanOrEqual(1);
  expect(summary.commands.sent).toBeGreaterThanOrEqual(summary.commands.acknowledged);
  expect(summary.rows).toBeGreaterThan(0);
  expect(summary.ackLatencyMs.p50).toBeGreaterThan(0);
  expect(summary.ackLatencyMs.p99).toBeGreaterThanOrEqual(summary.ackLatencyMs.p50);
  expect(summary.firstAlertSeconds).toBeGreaterThan(0);
  expect(summary.firstAlertSeconds).toBeLessThan(10);

  // Without npm around it, which ends with the signal whatever its script ends with.
  const start = [...command, "start", "examples/factory", "--fleet", ...options(folder.path, "60s")];
  await using again = new Running(process.execPath, start);
  await expect.poll(() => read(again.stdout).frames.at(-1)?.stored ?? 0, soon).toBeGreaterThan(3000);
  const stopMs = performance.now();
  const stopped = await again.end("SIGINT");
  expect(performance.now() - stopMs).toBeLessThan(5000);
  expect(stopped, stopped.stderr).toMatchObject({ code: 0 });
  const second = read(stopped.stdout).summary;
  if (!second) throw new Error(`no summary in ${stopped.stdout}`);
  expect(second).toMatchObject({ acknowledged: second.sent, stored: second.sent });

  await using node = await NodeProcess.start({ app: join(repository, "examples/factory"), data: folder.path });
  const status = await node.drained();
  const total = summary.stored + second.stored;
  expect(storedIn(status, "readings")).toBe(total);
  // A task counts over all its starts: twice would be more, a state that began again less.
  for (const name of ["pump-count", "overheat-guard"]) {
    const tasks = status.tasks.filter((task) => task.function === name);
    expect(
      tasks.reduce((sum, { processed }) => sum + processed, 0),
      name,
    ).toBe(total);
    expect(
      tasks.reduce((sum, { failed }) => sum + failed, 0),
      name,
    ).toBe(0);
  }
  expect(await node.query("SELECT count(*), count(DISTINCT (partition, writer, sequence)) FROM readings")).toEqual([
    [total, total],
  ]);
  expect(await node.end("SIGINT")).toMatchObject({ code: 0 });
});
