/**
 * The process that runs SQL: an empty environment, a DuckDB in memory that may read the lake's folder and nothing else, with its
 * configuration locked. It may be killed at any time. It imports nothing of Headrace but its siblings, to start fast.
 */
import { type DuckDBConnection, DuckDBInstance, StatementType } from "@duckdb/node-api";

import { jsonValue } from "./json-value.ts";
import { refusedFunction } from "./query-functions.ts";
import type { QueryAnswer, QueryRequest, QuerySetup } from "./query-protocol.ts";

/** A result is cut when its text is larger, whatever its number of rows. */
const resultBytesMax = 32 * 1024 * 1024;

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const setup = JSON.parse(process.argv[2]) as QuerySetup;

const open = async (): Promise<DuckDBConnection> => {
  const instance = await DuckDBInstance.create(":memory:", {
    threads: "1",
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
    allow_community_extensions: "false",
    allow_unsigned_extensions: "false",
  });
  const connection = await instance.connect();
  for (const setting of [
    `memory_limit = '${Math.floor(setup.memoryBytes / 1024)}KiB'`,
    "temp_directory = ''",
    "TimeZone = 'UTC'",
    `allowed_directories = [${quoted(setup.folder)}]`,
    "enable_external_access = false",
    "lock_configuration = true",
  ]) {
    await connection.run(`SET ${setting}`);
  }
  return connection;
};

const connected = open();
const views = new Map<string, string>();
const nameOf = (view: string): string => view.slice(0, view.indexOf(" AS "));

class NotSelect extends Error {}

const answer = async (request: QueryRequest): Promise<QueryAnswer> => {
  const connection = await connected;
  let viewError: unknown;
  for (const view of request.views) {
    const name = nameOf(view);
    if (views.get(name) === view) continue;
    views.delete(name);
    try {
      await connection.run(view);
      views.set(name, view);
    } catch (error) {
      // A damaged file: it fails the query only if the query reads that stream.
      viewError ??= error;
      await connection.run(`DROP VIEW IF EXISTS ${name.slice(name.indexOf('"'))}`);
    }
  }
  const statements = await connection.extractStatements(request.sql);
  if (statements.count !== 1) throw new NotSelect(`${statements.count} statements were sent`);
  const parsed = await connection.run("SELECT json_serialize_sql($1::VARCHAR)", [request.sql]);
  const tree: unknown = JSON.parse(String((await parsed.getRows())[0][0]));
  if ((tree as { error?: boolean }).error)
    throw new NotSelect(String((tree as { error_message?: string }).error_message));
  const refused = refusedFunction(tree);
  if (refused !== undefined) throw new Error(`the table function ${refused} is not among those that queries may use`);
  const statement = await statements.prepare(0).catch((error: unknown) => {
    throw viewError ?? error;
  });
  try {
    if (statement.statementType !== StatementType.SELECT)
      throw new NotSelect(`the statement is ${StatementType[statement.statementType] ?? "of an unknown kind"}`);
    if (statement.parameterCount > 0) throw new Error("the statement has parameters; write the values into it");
    const result = await statement.stream();
    const names = result.columnNames();
    const columns = result
      .columnTypes()
      .map((type, index) => ({ name: names[index], type: type.alias ?? type.toString() }));
    const rows: unknown[][] = [];
    let bytes = 0;
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      for (const row of chunk.getRows()) {
        if (rows.length === request.rowsMax || bytes > resultBytesMax) return { columns, rows, truncated: true };
        const values = row.map(jsonValue);
        for (const value of values)
          bytes +=
            typeof value === "string" ? value.length : typeof value === "object" ? JSON.stringify(value).length : 8;
        rows.push(values);
      }
    }
    return { columns, rows, truncated: false };
  } finally {
    statement.destroySync();
  }
};

const kindOf = (error: unknown): "notSelect" | "limit" | "failed" => {
  if (error instanceof NotSelect) return "notSelect";
  return error instanceof Error && /^Out of Memory Error/.test(error.message) ? "limit" : "failed";
};

process.on("message", (request: QueryRequest) => {
  answer(request).then(
    (result) => process.send?.({ result }),
    (error: unknown) =>
      process.send?.({
        error: { kind: kindOf(error), message: error instanceof Error ? error.message : String(error) },
      }),
  );
});
// The node has ended.
process.on("disconnect", () => process.exit(0));
