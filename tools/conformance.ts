/** `npm run conformance -- mqtt [--json] [--run]`: writes docs/reference/mqtt-conformance.md and says how many statements are proven. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { counts, matrix, page, pagePath, repository } from "./conformance/matrix.ts";

const [protocol, ...flags] = process.argv.slice(2);
if (protocol !== "mqtt") {
  process.stderr.write("usage: npm run conformance -- mqtt [--json] [--run]\n");
  process.exit(2);
}
writeFileSync(pagePath, page());
const tables = { v4: matrix("v4"), v5: matrix("v5") };
let areTestsPassing = true;
if (flags.includes("--run")) {
  const files = new Set([...tables.v4.rows, ...tables.v5.rows].flatMap(({ tests }) => tests));
  const run = spawnSync("npx", ["vitest", "run", ...files], { cwd: repository, stdio: ["ignore", 2, 2] });
  areTestsPassing = run.status === 0;
}
const result = {
  "3.1.1": counts(tables.v4.rows),
  "5.0": counts(tables.v5.rows),
  ...(flags.includes("--run") && { testsPass: areTestsPassing }),
};
if (flags.includes("--json")) process.stdout.write(`${JSON.stringify(result)}\n`);
else {
  for (const [version, { rows, unknown }] of Object.entries(tables)) {
    const open = rows.filter(({ tests, exempt }) => tests.length === 0 && exempt === undefined).map(({ id }) => id);
    process.stdout.write(`${version}: ${JSON.stringify(counts(rows))}\n  not yet: ${open.join(", ")}\n`);
    if (unknown.length > 0) process.stdout.write(`  tags without a statement: ${unknown.join(", ")}\n`);
  }
}
process.exitCode = areTestsPassing ? 0 : 1;
