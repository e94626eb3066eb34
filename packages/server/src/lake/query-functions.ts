/**
 * Which table functions a query may use. A SELECT is not harmless by its kind: `FROM enable_logging(…)` changes the process and would
 * write files into the lake's folder, which external access has to allow. So the list says what may be used, and a function of a later
 * DuckDB is refused until somebody has looked at it.
 */
const allowed = new Set([
  "duckdb_columns",
  "duckdb_functions",
  "duckdb_settings",
  "duckdb_tables",
  "duckdb_types",
  "duckdb_views",
  "generate_series",
  "json_each",
  "json_tree",
  "parquet_metadata",
  "parquet_scan",
  "parquet_schema",
  "pragma_table_info",
  "range",
  "read_parquet",
  "unnest",
]);

/** The first table function in a statement's tree (as `json_serialize_sql` makes it) that is not allowed. */
export const refusedFunction = (node: unknown): string | undefined => {
  if (typeof node !== "object" || node === null) return undefined;
  if ("type" in node && node.type === "TABLE_FUNCTION") {
    const name =
      (node as { function?: { function_name?: string } }).function?.function_name?.toLowerCase() ?? "without a name";
    if (!allowed.has(name)) return name;
  }
  for (const child of Object.values(node)) {
    const refused = refusedFunction(child);
    if (refused !== undefined) return refused;
  }
  return undefined;
};
