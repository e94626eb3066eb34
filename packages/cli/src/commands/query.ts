/** headrace query: one SELECT over streams and tables. */
import type { QueryResult } from "@headrace/server";
import { type Command, Option } from "commander";
import type { ConnectionOptions } from "../client/connection.ts";
import { csv, table } from "../output/table.ts";
import { clientOf, duration, examples, type Output, wholeNumber, withConnection } from "./options.ts";

interface Options extends ConnectionOptions {
  readonly rows: number;
  readonly timeout?: number;
  readonly json?: boolean;
  readonly csv?: boolean;
}

export function addQuery(program: Command, { out, err }: Output): void {
  withConnection(program.command("query"))
    .summary("ask with SQL")
    .description("Runs one SELECT over streams and tables, files and what is not yet in a file together.")
    .argument("<sql>", "one SELECT")
    .option("--rows <n>", "rows at most", wholeNumber(1, 100_000), 1000)
    .option("--timeout <duration>", "give up after, as 30s", duration)
    .option("--json", "print one JSON object with columns and rows")
    .addOption(
      new Option("--csv", "print CSV; text that a spreadsheet would run as a formula gets an apostrophe").conflicts(
        "json",
      ),
    )
    .addHelpText(
      "after",
      examples(
        `headrace query "select count(*) from readings"`,
        `headrace query "select * from per_minute order by windowStart desc limit 5" --csv > minutes.csv`,
      ),
    )
    .action(async (sql: string, options: Options) => {
      const body = { sql, rowsMax: options.rows, ...(options.timeout !== undefined && { timeoutMs: options.timeout }) };
      const result = await clientOf(options).post<QueryResult>("/v1/query", JSON.stringify(body));
      const names = result.columns.map(({ name }) => name);
      if (options.json) out(`${JSON.stringify(result)}\n`);
      else if (options.csv) out(csv(names, result.rows));
      else out(`${table(names, result.rows)}\n(${result.rows.length} ${result.rows.length === 1 ? "row" : "rows"})\n`);
      if (result.truncated && !options.json)
        err(`headrace: there are more rows; --rows ${options.rows} cut them off\n`);
    });
}
