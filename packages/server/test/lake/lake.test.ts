/** Goal: what is durable in the log is one row in SQL, whether in a file or not. Method: a log in memory with real blocks, the real thread, the real query process. */
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MemoryLog } from "@headrace/testkit";
import { describe, expect, test } from "vitest";
import { hourStartMs, openLakeOn, putEvents, stream, temporaryFolder } from "./harness.ts";

const readings = stream("readings", {
  partitions: 2,
  columns: [
    { name: "temperature", type: "double" },
    { name: "count", type: "bigint" },
    { name: "state", type: "varchar" },
    { name: "ok", type: "boolean" },
    { name: "inner", type: "json" },
    { name: "time", type: "varchar" },
  ],
});
const parquetFiles = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".parquet") && !path.startsWith(".hot"))
    .sort();

describe("rows", () => {
  test("a row is readable right after it is durable, with and without its file", async () => {
    using folder = temporaryFolder();
    const log = new MemoryLog();
    await using lake = await openLakeOn(log, { folder: folder.path, streams: [readings] });
    await putEvents(log, "stream/readings/0", [
      {
        device: "pump-1",
        payload: { temperature: 21.5, count: 3, state: "on", ok: true, inner: { a: [1] }, time: "noon" },
      },
    ]);
    const select = `SELECT * EXCLUDE (payload) FROM readings ORDER BY sequence, "partition"`;
    const hot = await lake.query(select);
    expect(hot.rows).toEqual([
      [
        "2026-01-02T10:00:00.000Z",
        "pump-1",
        "plants/pump-1",
        "client-pump-1",
        0,
        1,
        0,
        null,
        21.5,
        3,
        "on",
        true,
        '{"a":[1]}',
        "noon",
      ],
    ]);
    expect(hot.columns.map(({ name }) => name).slice(7)).toEqual([
      "payload_base64",
      "temperature",
      "count",
      "state",
      "ok",
      "inner",
      "payload_time",
    ]);
    expect(parquetFiles(folder.path)).toEqual([]);
    await lake.flush();
    expect(parquetFiles(folder.path)).toHaveLength(1);
    expect((await lake.query(select)).rows).toEqual(hot.rows);
    await putEvents(log, "stream/readings/1", [{ device: "pump-2", payload: { temperature: 1 } }]);
    expect((await lake.query(`SELECT device, "partition", temperature FROM readings ORDER BY 1`)).rows).toEqual([
      ["pump-1", 0, 21.5],
      ["pump-2", 1, 1],
    ]);
    expect(lake.stats()).toMatchObject({ rows: 2, files: 1, lagRows: 1, rowsByStream: { readings: 2 } });
  });

  test("text of every length, bytes that are not UTF-8 and payloads that are not JSON come out as they went in", async () => {
    using folder = temporaryFolder();
    const log = new MemoryLog();
    await using lake = await openLakeOn(log, {
      folder: folder.path,
      streams: [stream("raw", { columns: [{ name: "n", type: "bigint" }] })],
    });
    const texts = Array.from({ length: 5000 }, (_, index) =>
      index % 7 === 0 ? JSON.stringify({ n: index }) : "ä€😀x".repeat(index % 40).slice(0, index % 90),
    );
    const well = texts.map((text) => text.toWellFormed());
    await putEvents(
      log,
      "stream/raw/0",
      well.map((payload, index) => ({ payload, device: `${"d".repeat(index % 30)}${index}` })),
    );
    const binary = [
      Uint8Array.of(0xff, 0xfe),
      Uint8Array.of(0xe2, 0x82),
      Uint8Array.of(0xac),
      new Uint8Array(100_000).fill(0x80),
    ];
    await putEvents(
      log,
      "stream/raw/0",
      binary.map((payload) => ({ payload })),
    );
    const { rows } = await lake.query("SELECT payload, payload_base64, device, n FROM raw ORDER BY sequence");
    expect(rows.map(([payload]) => payload)).toEqual([...well, null, null, null, null]);
    expect(rows.slice(5000).map(([, base64]) => base64)).toEqual(
      binary.map((bytes) => Buffer.from(bytes).toString("base64")),
    );
    expect(
      rows
        .slice(0, 5000)
        .every(
          ([, base64, device, n], index) =>
            base64 === null && device === `${"d".repeat(index % 30)}${index}` && n === (index % 7 === 0 ? index : null),
        ),
    ).toBe(true);
  });

  test("repeats are no rows, hours are files, and a name with a hyphen is a view", async () => {
    using folder = temporaryFolder();
    const log = new MemoryLog();
    await using lake = await openLakeOn(log, { folder: folder.path, streams: [stream("dead-letters")] });
    await putEvents(log, "stream/dead-letters/0", [
      { payload: { a: 1 }, arrivalMs: hourStartMs + 3_599_999 },
      { payload: { a: 1 }, arrivalMs: hourStartMs + 3_599_999, repeated: true },
      { payload: { a: 2 }, arrivalMs: hourStartMs + 3_600_000 },
    ]);
    await lake.flush();
    expect(parquetFiles(folder.path).map((path) => path.slice(0, path.lastIndexOf("/")))).toEqual([
      "dead-letters/date=2026-01-02/hour=10",
      "dead-letters/date=2026-01-02/hour=11",
    ]);
    expect((await lake.query(`SELECT sequence FROM "dead-letters" ORDER BY 1`)).rows).toEqual([[0], [2]]);
  });

  test("a table shows the newest revision of each device and window, and no retracted ones", async () => {
    using folder = temporaryFolder();
    const log = new MemoryLog();
    await using lake = await openLakeOn(log, {
      folder: folder.path,
      streams: [stream("per_minute", { table: true, columns: [{ name: "mean", type: "double" }] })],
    });
    const row = (device: string, windowStart: number, revision: number, mean: number, op = "upsert") => ({
      device,
      payload: { windowStart, windowEnd: windowStart + 60, revision, op, mean },
    });
    await putEvents(log, "stream/per_minute/0", [row("a", 0, 1, 1), row("a", 60, 1, 2), row("b", 0, 1, 3)]);
    await lake.flush();
    await putEvents(log, "stream/per_minute/0", [row("a", 0, 2, 9), row("b", 0, 2, 0, "retract")]);
    expect((await lake.query("SELECT device, windowStart, revision, mean FROM per_minute ORDER BY ALL")).rows).toEqual([
      ["a", 0, 2, 9],
      ["a", 60, 1, 2],
    ]);
  });

  test("a lake that is opened again goes on where it was, also with other columns", async () => {
    using folder = temporaryFolder();
    const log = new MemoryLog();
    const events = (from: number) => Array.from({ length: 1000 }, (_, index) => ({ payload: { n: from + index } }));
    {
      await using lake = await openLakeOn(log, { folder: folder.path, streams: [stream("s")], flushRows: 300 });
      await putEvents(log, "stream/s/0", events(0));
      await lake.flush();
      await putEvents(log, "stream/s/0", events(1000));
      await lake.query("SELECT count(*) FROM s");
    }
    await using lake = await openLakeOn(log, {
      folder: folder.path,
      streams: [stream("s", { columns: [{ name: "n", type: "bigint" }] })],
    });
    await putEvents(log, "stream/s/0", events(2000), 2);
    expect(
      (await lake.query("SELECT count(*), count(DISTINCT (writer, sequence)), count(n), max(n) FROM s")).rows,
    ).toEqual([[3000, 3000, 2000, 2999]]);
    const trimmable: [string, number, number][] = [];
    lake.onTrimmable((channels) =>
      trimmable.push(
        ...channels.map(
          ({ log: name, writer, beforeSequence }) => [name, writer, beforeSequence] as [string, number, number],
        ),
      ),
    );
    expect(trimmable).toEqual([
      ["stream/s/0", 1, 1000],
      ["stream/s/0", 2, 0],
    ]);
    await lake.flush();
    expect(trimmable.slice(2)).toEqual([
      ["stream/s/0", 1, 2000],
      ["stream/s/0", 2, 1000],
    ]);
  });

  test("many small files of an hour become one, and old hours go", async () => {
    using folder = temporaryFolder();
    const log = new MemoryLog();
    {
      await using lake = await openLakeOn(log, { folder: folder.path, streams: [stream("s")] });
      for (let index = 0; index < 20; index++) {
        await putEvents(log, "stream/s/0", [{ payload: { index } }]);
        await lake.flush();
      }
    }
    expect(parquetFiles(folder.path)).toHaveLength(20);
    {
      await using lake = await openLakeOn(log, { folder: folder.path, streams: [stream("s")] });
      await expect.poll(() => parquetFiles(folder.path).length, { timeout: 5000 }).toBe(1);
      expect((await lake.query("SELECT count(*), count(DISTINCT sequence) FROM s")).rows).toEqual([[20, 20]]);
    }
    await using lake = await openLakeOn(log, {
      folder: folder.path,
      streams: [stream("s", { retainAgeMs: 3_600_000 })],
    });
    await expect.poll(() => parquetFiles(folder.path).length, { timeout: 5000 }).toBe(0);
    expect((await lake.query("SELECT count(*) FROM s")).rows).toEqual([[0]]);
  });
});

describe("S22: damaged files", () => {
  test("half a file that the manifest does not name is ignored and removed", async () => {
    using folder = temporaryFolder();
    const log = new MemoryLog();
    await putEvents(log, "stream/s/0", [{ payload: { a: 1 } }]);
    await (async () => {
      await using lake = await openLakeOn(log, { folder: folder.path, streams: [stream("s")] });
      await lake.flush();
    })();
    const [path] = parquetFiles(folder.path);
    const orphan = join(folder.path, path.replace(/\d+-p/, "0000009999-p"));
    writeFileSync(orphan, readFileSync(join(folder.path, path)).subarray(0, 100));
    await using lake = await openLakeOn(log, { folder: folder.path, streams: [stream("s")] });
    expect((await lake.query("SELECT count(*) FROM s")).rows).toEqual([[1]]);
    expect(parquetFiles(folder.path)).toEqual([path]);
  });

  test.each(["cut", "flipped", "gone"])(
    "a file of the manifest that is %s gives an error that names it",
    async (damage) => {
      using folder = temporaryFolder();
      const log = new MemoryLog();
      await using lake = await openLakeOn(log, { folder: folder.path, streams: [stream("s"), stream("other")] });
      await putEvents(
        log,
        "stream/s/0",
        Array.from({ length: 5000 }, (_, index) => ({ payload: { index, text: `${Math.sin(index)}` } })),
      );
      await lake.flush();
      const [relativePath] = parquetFiles(folder.path);
      const path = join(folder.path, relativePath);
      if (damage === "cut") truncateSync(path, 1000);
      else if (damage === "gone") rmSync(path);
      else {
        const content = readFileSync(path);
        content.fill(0xa5, Math.floor(content.byteLength / 4), Math.floor(content.byteLength / 2));
        writeFileSync(path, content);
      }
      await expect(lake.query("SELECT sum(hash(COLUMNS(*))) FROM s")).rejects.toMatchObject({
        code: "HR_LAKE_CORRUPT",
        message: expect.stringContaining(path),
      });
      expect((await lake.query("SELECT count(*) FROM other")).rows).toEqual([[0]]);
    },
  );
});
