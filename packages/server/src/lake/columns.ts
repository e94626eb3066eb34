/** What a stream's files hold, as SQL. */
import type { LakeStream } from "./options.ts";

const sqlTypes = { double: "DOUBLE", bigint: "BIGINT", varchar: "VARCHAR", boolean: "BOOLEAN", json: "JSON" } as const;

const streamColumns = [
  ["time", "TIMESTAMPTZ"],
  ["device", "VARCHAR"],
  ["topic", "VARCHAR"],
  ["client", "VARCHAR"],
  ["partition", "INTEGER"],
  ["writer", "BIGINT"],
  ["sequence", "BIGINT"],
  ["payload", "VARCHAR"],
  ["payload_base64", "VARCHAR"],
] as const;
const tableColumns = [
  ["device", "VARCHAR"],
  ["partition", "INTEGER"],
  ["writer", "BIGINT"],
  ["sequence", "BIGINT"],
] as const;
const windowColumns = [
  { name: "windowStart", type: "bigint" },
  { name: "windowEnd", type: "bigint" },
  { name: "revision", type: "bigint" },
  { name: "op", type: "varchar" },
] as const;

/** A column of a stream's files; `field` is the payload's field that it is extracted from. */
export interface LakeColumn {
  readonly name: string;
  readonly type: string;
  readonly field?: string;
}

export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/**
 * The columns of a stream's files. A declared column that is named like one of the lake's own is called `payload_<name>`;
 * SQL does not tell upper from lower case, so of two such names the first counts.
 */
export const columnsOf = (stream: LakeStream): LakeColumn[] => {
  const own = stream.table ? tableColumns : streamColumns;
  const columns: LakeColumn[] = own.map(([name, type]) => ({ name, type }));
  const taken = new Set<string>(own.map(([name]) => name));
  const fields = new Set<string>();
  for (const { name: field, type } of [...(stream.table ? windowColumns : []), ...stream.columns]) {
    if (fields.has(field.toLowerCase())) continue;
    fields.add(field.toLowerCase());
    const name = taken.has(field.toLowerCase()) ? `payload_${field}` : field;
    if (taken.has(name.toLowerCase())) continue;
    taken.add(name.toLowerCase());
    columns.push({ name, type: sqlTypes[type], field });
  }
  return stream.table ? [...columns.slice(own.length), ...columns.slice(0, own.length)] : columns;
};

/** The query that makes a stream's rows of the table function `blocks()`. */
export const selectOf = (columns: readonly LakeColumn[]): string => {
  const fields = columns.filter((column) => column.field !== undefined);
  const selected = columns.map(({ name, field }) => {
    if (field !== undefined) return `"extracted".${identifier(field)} AS ${identifier(name)}`;
    if (name === "payload") return `CASE WHEN "textual" THEN "payload" END AS "payload"`;
    if (name === "payload_base64") return `CASE WHEN NOT "textual" THEN "payload" END AS "payload_base64"`;
    return identifier(name);
  });
  if (fields.length === 0) return `SELECT ${selected.join(", ")} FROM blocks()`;
  const structure = JSON.stringify(Object.fromEntries(fields.map(({ field, type }) => [field, type])));
  // TRY: a payload that is not JSON gives NULLs. base64 never parses to an object, so it needs no case of its own.
  return `SELECT ${selected.join(", ")} FROM (SELECT *, TRY(json_transform("payload", ${literal(structure)})) AS "extracted" FROM blocks())`;
};

/** Names and types of columns as one text: files with the same text are read together. */
export const signatureOf = (columns: readonly LakeColumn[]): string =>
  JSON.stringify(columns.map(({ name, type }) => [name, type]));

/** A file of a view: where it is, and the {@link signatureOf} its columns. */
export interface ViewFile {
  readonly path: string;
  readonly columns: string;
}

/** DuckDB expands patterns in file names; ours are meant as they stand. */
const fileLiteral = (path: string): string => literal(path.replace(/[*?[]/g, "[$&]"));

/** The statement that makes the view of a stream over its files. */
export const viewOf = (stream: LakeStream, files: readonly ViewFile[]): string => {
  const columns = columnsOf(stream);
  const bySignature = Map.groupBy(files, (file) => file.columns);
  const parts = [...bySignature].map(([signature, group]) => {
    const stored = new Map(
      (JSON.parse(signature) as [string, string][]).map(([name, type]) => [name.toLowerCase(), type]),
    );
    const selected = columns.map(({ name, type }) => {
      const quoted = identifier(name);
      const storedType = stored.get(name.toLowerCase());
      if (storedType === undefined) return `CAST(NULL AS ${type}) AS ${quoted}`;
      return storedType === type ? quoted : `TRY_CAST(${quoted} AS ${type}) AS ${quoted}`;
    });
    const list = group.map(({ path }) => fileLiteral(path)).join(", ");
    return `SELECT ${selected.join(", ")} FROM read_parquet([${list}], hive_partitioning = false)`;
  });
  if (parts.length === 0)
    parts.push(
      `SELECT ${columns.map(({ name, type }) => `CAST(NULL AS ${type}) AS ${identifier(name)}`).join(", ")} WHERE false`,
    );
  const rows = parts.join(" UNION ALL ");
  const newest = `SELECT * FROM (SELECT * FROM (${rows}) QUALIFY row_number() OVER (PARTITION BY "device", "windowStart" ORDER BY "revision" DESC, "sequence" DESC) = 1) WHERE "op" IS DISTINCT FROM 'retract'`;
  return `CREATE OR REPLACE VIEW ${identifier(stream.name)} AS ${stream.table ? newest : rows}`;
};
