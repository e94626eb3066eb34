/**
 * The command `headrace`. A map of the files:
 *
 *   program.ts   the commands and their help      client/   finds the running node and talks to its API
 *   commands/    one module per command           output/   errors, tables, CSV, safe text
 *   node/        starts node and fleet            display/  what `start` shows while it runs
 */
import { run } from "./program.ts";

process.exitCode = await run(process.argv.slice(2));
