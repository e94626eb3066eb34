/**
 * Goal: the documents that must follow the repository do: dependencies, promises, decisions and links.
 * Method: read the documents, compare them with package.json files and the file tree; plant one violation each.
 */
import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { filesBelow, repositoryRoot, textOf } from "./repository.ts";

interface Manifest {
  readonly name: string;
  readonly [kind: string]: Record<string, string> | unknown;
}

const kinds = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
const isOurs = (name: string): boolean => name === "headrace" || name.startsWith("@headrace/");

function dependenciesOf(manifests: readonly Manifest[]): string[] {
  const names = manifests.flatMap((manifest) => kinds.flatMap((kind) => Object.keys(manifest[kind] ?? {})));
  return [...new Set(names)].filter((name) => !isOurs(name)).sort();
}

/** A dependency is documented by a table row that starts with its name in backticks; a row may name several. */
function documentedDependencies(page: string): string[] {
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  return rows.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`([^`]+)`/g)].map(([, name]) => name as string));
}

function manifests(): Manifest[] {
  const below = ["packages", "examples", "bench", "tests"].flatMap((folder) =>
    filesBelow(folder, (path) => path.endsWith("/package.json")),
  );
  return [textOf("package.json") ?? "{}", ...below.map(({ text }) => text)].map((text) => JSON.parse(text) as Manifest);
}

describe("docs/dependencies.md", () => {
  test("has a row for every dependency, and no row for another", () => {
    const used = dependenciesOf(manifests());
    expect(used.length).toBeGreaterThan(0);
    expect(documentedDependencies(textOf("docs/dependencies.md") ?? "").sort()).toEqual(used);
  });

  test("would be found incomplete", () => {
    const planted = dependenciesOf([{ name: "a", dependencies: { "left-pad": "1.0.0", "@headrace/sdk": "0.1.0" } }]);
    expect(planted).toEqual(["left-pad"]);
    expect(documentedDependencies("| `a`, `@b/c` | why | `left-pad` |\n| --- |\ntext `d`")).toEqual(["a", "@b/c"]);
  });

  test("sdk and engine have no dependencies, and mqtt has mqtt-packet only", () => {
    const byName = new Map(manifests().map((manifest) => [manifest.name, manifest]));
    const npmOf = (name: string): string[] =>
      Object.keys((byName.get(name)?.dependencies as object | undefined) ?? {}).filter((other) => !isOurs(other));
    expect(npmOf("@headrace/sdk")).toEqual([]);
    expect(npmOf("@headrace/engine")).toEqual([]);
    expect(npmOf("@headrace/mqtt")).toEqual(["mqtt-packet"]);
  });
});

describe("docs/promises.md", () => {
  const page = textOf("docs/promises.md") ?? "";
  const testFile = /[\w./-]+\.test\.ts/g;

  test("lists the promises P1 to P10, each with tests or 'not yet'", () => {
    const rows = page.split("\n").filter((line) => /^\| P\d+ \|/.test(line));
    expect(rows.map((row) => row.split("|")[1]?.trim())).toEqual(Array.from({ length: 10 }, (_, i) => `P${i + 1}`));
    for (const row of rows) expect(row).toMatch(/\.test\.ts|not yet/);
  });

  test("names only test files that exist", () => {
    const named = [...page.matchAll(testFile)].map(([path]) => path);
    expect(named.filter((path) => !existsSync(join(repositoryRoot, path)))).toEqual([]);
  });

  test("would be found to name a missing file", () => {
    const [path] = "| P1 | … | `tests/src/planted.test.ts` |".match(testFile) ?? [];
    expect(path).toBe("tests/src/planted.test.ts");
    expect(existsSync(join(repositoryRoot, path as string))).toBe(false);
  });
});

describe("decision records", () => {
  const records = filesBelow("docs/adr", (path) => /\/\d{4}-[a-z0-9-]+\.md$/.test(path));

  // A number may be missing: it belongs to a decision that is being written.
  test("have numbers of their own and the sections of the template", () => {
    const numbers = records.map(({ path }) => Number(/(\d{4})-/.exec(path)?.[1]));
    expect(numbers.length).toBeGreaterThan(0);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const { path, text } of records) {
      for (const heading of ["Status", "Context", "Options", "Decision", "Consequences"]) {
        expect(text, path).toContain(heading);
      }
    }
  });
});

describe("links between documents", () => {
  function brokenLinks(path: string, text: string): string[] {
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target as string);
    return targets
      .filter((target) => !/^(https?:|mailto:|#)/.test(target))
      .map((target) => normalize(join(dirname(path), target.split("#")[0] as string)))
      .filter((target) => !existsSync(join(repositoryRoot, target)));
  }

  test("lead to files that exist", () => {
    const pages = [
      ...["README.md", "CONTRIBUTING.md"].map((path) => ({ path, text: textOf(path) ?? "" })),
      ...["docs", "packages", "examples", "bench"].flatMap((folder) => filesBelow(folder, (p) => p.endsWith(".md"))),
    ];
    expect(pages.flatMap(({ path, text }) => brokenLinks(path, text).map((to) => `${path} → ${to}`))).toEqual([]);
  });

  test("are found broken when planted", () => {
    expect(brokenLinks("docs/a.md", "[a](https://a.example) [b](gone.md#part) [c](README.md)")).toEqual([
      "docs/gone.md",
      ...(existsSync(join(repositoryRoot, "docs/README.md")) ? [] : ["docs/README.md"]),
    ]);
  });
});
