/** I13: SQL from users reaches nothing but the lake's rows, in bounded time and memory, and the next query works. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { MemoryLog } from "@headrace/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Lake } from "../../src/lake/index.ts";
import { openLakeOn, putEvents, stream, temporaryFolder } from "./harness.ts";

const folder = temporaryFolder();
const target = join(folder.path, "written");
let lake: Lake;

beforeAll(async () => {
  const log = new MemoryLog();
  lake = await openLakeOn(log, {
    folder: join(folder.path, "lake"),
    streams: [stream("s")],
    query: { memoryBytes: 128 * 1024 * 1024, timeoutMs: 3000, rowsMax: 100 },
  });
  await putEvents(log, "stream/s/0", [{ payload: { a: 1 } }]);
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** The query process is a new one then; on a busy machine its start alone may take what a query may. */
const expectNextQueryWorks = (): Promise<void> =>
  expect
    .poll(() => lake.query("SELECT payload FROM s").catch((error: unknown) => error), { timeout: 60_000 })
    .toMatchObject({ rows: [['{"a":1}']] });

describe("I13: SQL from users", () => {
  test.each([
    `COPY (SELECT 1) TO '${target}'`,
    `COPY s TO '${target}' (FORMAT parquet)`,
    `ATTACH '${target}' AS other`,
    `EXPORT DATABASE '${target}'`,
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '10GB'",
    "SET lock_configuration = false",
    "RESET memory_limit",
    "PRAGMA threads = 8",
    "PRAGMA enable_profiling",
    "CREATE TABLE t (a INTEGER)",
    "CREATE OR REPLACE VIEW s AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "DROP VIEW s",
    "INSERT INTO s VALUES (1)",
    "WITH x AS (SELECT 1) INSERT INTO s SELECT * FROM x",
    "DELETE FROM s",
    "EXPLAIN ANALYZE SELECT 1",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "USE memory",
    "PREPARE p AS SELECT 1",
    "SELECT 1; SELECT 2",
    `SELECT 1; COPY (SELECT 1) TO '${target}'`,
    "",
    "-- nothing",
  ])("%s is not a SELECT", async (sql) => {
    await expect(lake.query(sql)).rejects.toMatchObject({
      code: expect.stringMatching(/^HR_QUERY_(NOT_SELECT|FAILED)$/),
    });
    expect(existsSync(target)).toBe(false);
    await expectNextQueryWorks();
  });

  test.each([
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd.csv'",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM read_json('/proc/self/environ')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_text('../../../../etc/passwd')",
    "SELECT * FROM read_parquet('https://127.0.0.1/x.parquet')",
    "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "SELECT getenv('HOME')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM parquet_metadata('/etc/passwd')",
    `SELECT * FROM enable_logging('QueryLog', storage := 'file', storage_path := '${target}')`,
    "SELECT * FROM import_database('/tmp')",
  ])("%s reads nothing", async (sql) => {
    await expect(lake.query(sql)).rejects.toMatchObject({ code: "HR_QUERY_FAILED" });
    expect(existsSync(target)).toBe(false);
    await expectNextQueryWorks();
  });

  test.each([
    [
      "a cross join bomb",
      "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE (a.range * b.range) % 7 = 3",
    ],
    ["a recursive bomb", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"],
    [
      "a sort of 10 GB",
      "SELECT * FROM (SELECT range, repeat('x', 1000) || range AS t FROM range(10000000)) ORDER BY md5(t) DESC",
    ],
    ["a list of everything", "SELECT len(list(hash(range) || repeat('x', 1000))) FROM range(100000000)"],
    ["one huge text", "SELECT length(repeat('x', 4000000000))"],
  ])("%s is stopped", async (_, sql) => {
    await expect(lake.query(sql)).rejects.toMatchObject({ code: expect.stringMatching(/^HR_QUERY_(LIMIT|FAILED)$/) });
    await expectNextQueryWorks();
  });

  test("the environment of the query process is empty of secrets, and its configuration says what it may do", async () => {
    const { rows } = await lake.query(
      "SELECT name, value FROM duckdb_settings() WHERE name IN ('enable_external_access', 'lock_configuration', 'threads', 'autoload_known_extensions') ORDER BY name",
    );
    expect(rows).toEqual([
      ["autoload_known_extensions", "false"],
      ["enable_external_access", "false"],
      ["lock_configuration", "true"],
      ["threads", "1"],
    ]);
  });

  test("more rows than allowed are cut, and says so", async () => {
    const result = await lake.query("SELECT range FROM range(1000)", { rowsMax: 5000 });
    expect(result.rows).toHaveLength(100);
    expect(result.truncated).toBe(true);
    expect((await lake.query("SELECT range FROM range(100)")).truncated).toBe(false);
    expect((await lake.query("SELECT range FROM range(50)", { rowsMax: 7 })).rows).toHaveLength(7);
  });

  test("values come as JSON", async () => {
    const { rows, columns } = await lake.query(
      "SELECT 1::BIGINT, 9007199254740993, 1.25::DECIMAL(9,2), TIMESTAMPTZ '2026-01-02 03:04:05.678901Z', TIMESTAMP '1969-12-31 23:59:59.5', DATE '2026-01-02', {'a': [1, NULL]}, MAP {'k': 2}, 'nan'::DOUBLE, '\\xFF'::BLOB, NULL, true",
    );
    expect(rows).toEqual([
      [
        1,
        "9007199254740993",
        1.25,
        "2026-01-02T03:04:05.678901Z",
        "1969-12-31T23:59:59.500Z",
        "2026-01-02",
        { a: [1, null] },
        { k: 2 },
        "NaN",
        "/w==",
        null,
        true,
      ],
    ]);
    expect(columns[3].type).toBe("TIMESTAMP WITH TIME ZONE");
  });

  test("a query that DuckDB refuses carries its message", async () => {
    await expect(lake.query("SELECT nope FROM s")).rejects.toMatchObject({
      code: "HR_QUERY_FAILED",
      message: expect.stringContaining("nope"),
    });
  });
});
