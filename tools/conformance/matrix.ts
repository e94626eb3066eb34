/** Which test proves which statement: tests carry tags like [v5 3.3.1-1, 3.3.1-2] in their titles. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { exempt, statements } from "./statements.ts";

export const repository = fileURLToPath(new URL("../../", import.meta.url));
export const pagePath = join(repository, "docs/reference/mqtt-conformance.md");
const folders = ["packages/mqtt/src", "packages/server/src/gateway", "tests/src"];

export type Version = keyof typeof statements;
export interface Row {
  readonly id: string;
  /** Files with a test that is tagged with it. */
  readonly tests: readonly string[];
  readonly exempt: string | undefined;
}

const tagPattern = /\[(v[45]) (\d[\d., -]*)\]/g;
// Rows of tables for `test.each` whose title is "[v4 %s] [v5 %s] …".
const tablePattern = /^\s*\[?\s*\n?\s*"(\d+\.\d[\d., -]*)",\s*"(\d+\.\d[\d., -]*)",/gm;

const testFiles = (): string[] =>
  folders.flatMap((folder) =>
    readdirSync(join(repository, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => join(repository, folder, name)),
  );

/** Test files by version and statement. */
const proofs = (): Map<string, Set<string>> => {
  const found = new Map<string, Set<string>>();
  const add = (version: string, ids: string, file: string): void => {
    for (const id of ids.split(",")) {
      const key = `${version} ${id.trim()}`;
      found.set(key, (found.get(key) ?? new Set()).add(relative(repository, file)));
    }
  };
  for (const file of testFiles()) {
    const text = readFileSync(file, "utf8");
    for (const [, version = "", ids = ""] of text.matchAll(tagPattern)) add(version, ids, file);
    if (!text.includes("[v4 %s] [v5 %s]")) continue;
    for (const [, old = "", current = ""] of text.matchAll(tablePattern)) {
      add("v4", old, file);
      add("v5", current, file);
    }
  }
  return found;
};

/** All statements of a version; `unknown` are tags that name none. */
export const matrix = (version: Version): { readonly rows: readonly Row[]; readonly unknown: readonly string[] } => {
  const found = proofs();
  const known = new Set(statements[version].map((id) => `${version} ${id}`));
  return {
    rows: statements[version].map((id) => ({
      id,
      tests: [...(found.get(`${version} ${id}`) ?? [])].sort(),
      exempt: exempt[version][id],
    })),
    unknown: [...found.keys()].filter((key) => key.startsWith(version) && !known.has(key)),
  };
};

export const counts = (rows: readonly Row[]) => {
  const proven = rows.filter(({ tests }) => tests.length > 0).length;
  const exemptCount = rows.filter((row) => row.tests.length === 0 && row.exempt !== undefined).length;
  return { statements: rows.length, proven, exempt: exemptCount, failing: rows.length - proven - exemptCount };
};

const titles: Record<Version, string> = { v4: "MQTT 3.1.1", v5: "MQTT 5.0" };

export const page = (): string => {
  const parts = (["v4", "v5"] as const).map((version) => {
    const { rows } = matrix(version);
    const { statements: all, proven, exempt: excused, failing } = counts(rows);
    const lines = rows.map(({ id, tests, exempt: reason }) => {
      const proof = tests.length > 0 ? tests.map((file) => `\`${file}\``).join(", ") : (reason ?? "**not yet**");
      return `| MQTT-${id} | ${proof} |`;
    });
    return `## ${titles[version]}\n\n${all} statements: ${proven} proven, ${excused} exempt, ${failing} not yet.\n\n| statement | proved by, or why not |\n|---|---|\n${lines.join("\n")}\n`;
  });
  return `# MQTT conformance

Every normative statement of both specifications by its number, with the test files that prove it (search the file for the number; tests
carry it in their titles as \`[v4 …]\` for 3.1.1 and \`[v5 …]\` for 5.0), or the reason why no test of this server can. \`npm run conformance -- mqtt\`
makes this page; a test fails when it differs from the tests. The numbers are taken from public indices of the OASIS texts; the
conformance clauses of chapter 7 are not listed.

${parts.join("\n")}`;
};
