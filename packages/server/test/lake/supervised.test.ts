/** Goal: a lake that fails comes back by itself without losing or doubling a row, and takes new streams while it runs. */
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { HeadraceError } from "@headrace/sdk";
import { MemoryLog } from "@headrace/testkit";
import { expect, test } from "vitest";
import { superviseLake } from "../../src/lake/index.ts";
import { serveLog } from "../../src/log/index.ts";
import { putEvents, stream, temporaryFolder } from "./harness.ts";

const ports =
  (log: MemoryLog): (() => MessagePort) =>
  () => {
    const { port1, port2 } = new MessageChannel();
    serveLog(log, port1);
    port1.unref();
    return port2;
  };

const events = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => ({ payload: { n: from + index } }));

test("a lake that cannot go on is opened again, and every row is there once", async () => {
  using folder = temporaryFolder();
  const log = new MemoryLog();
  let damagedReads = 2;
  const read = log.read.bind(log);
  log.read = (...args) => {
    if (damagedReads-- <= 0) return read(...args);
    return Promise.reject(new HeadraceError("HR_LOG_FAILED", "a block that the disk lost for a while"));
  };
  const troubles: string[] = [];
  await putEvents(log, "stream/s/0", events(100));
  await using lake = await superviseLake({
    folder: folder.path,
    newLogPort: ports(log),
    streams: [stream("s")],
    reopenAfterMs: 50,
    onTrouble: (message) => troubles.push(message),
  });
  await putEvents(log, "stream/s/0", events(100, 100));
  const ask = () => lake.query("SELECT count(*), count(DISTINCT sequence) FROM s").catch((error: unknown) => error);
  await expect.poll(ask, { timeout: 20_000 }).toMatchObject({ rows: [[200, 200]] });
  expect(troubles.length).toBeGreaterThan(0);
  expect(troubles[0]).toMatch(/the lake has stopped and is opened again: .*a block that the disk lost/);
});

test("new streams are followed without a restart; queries wait meanwhile", async () => {
  using folder = temporaryFolder();
  const log = new MemoryLog();
  await putEvents(log, "stream/old/0", events(3));
  await putEvents(log, "stream/new/0", events(5));
  await using lake = await superviseLake({
    folder: folder.path,
    newLogPort: ports(log),
    streams: [stream("old")],
    onTrouble: () => undefined,
  });
  await expect(lake.query("SELECT count(*) FROM new")).rejects.toMatchObject({ code: "HR_QUERY_FAILED" });
  const changed = lake.setStreams([stream("old"), stream("new")]);
  expect((await lake.query("SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM new)")).rows).toEqual([[3, 5]]);
  await changed;
});
