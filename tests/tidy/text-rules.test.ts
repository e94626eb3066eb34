/**
 * Goal: rules that a linter does not know hold in every file, and each rule notices its violation.
 * Method: apply the rules to the repository, and to planted texts.
 */
import { describe, expect, test } from "vitest";
import { filesBelow, type SourceFile } from "./repository.ts";
import { textRules, textRuleViolations } from "./text-rules.ts";

const folders = ["packages", "examples", "bench", "tests", "tools", "docs"];

test("no file of the repository breaks a text rule", () => {
  const files = folders.flatMap((folder) => filesBelow(folder, (path) => /\.([cm]?[jt]s|md)$/.test(path)));
  expect(files.length).toBeGreaterThan(0);
  expect(textRuleViolations(files)).toEqual([]);
});

describe("a planted violation", () => {
  // Assembled from halves, so that this file does not break the rules it plants.
  const planted: Record<string, SourceFile[]> = {
    "no unfinished work in the text": [
      { path: "packages/sdk/src/a.ts", text: `// TO${"DO"}: later` },
      { path: "docs/a.md", text: `FIX${"ME"} this page` },
    ],
    "no test is left out or alone": [
      { path: "tests/src/a.test.ts", text: `test.${"only"}("a", () => {});` },
      { path: "packages/sdk/src/a.test.ts", text: `describe.concurrent.${"skip"}("a", () => {});` },
    ],
    "no type error is silenced": [{ path: "bench/src/a.ts", text: `// @ts-${"ignore"}` }],
    "no path of one machine": [{ path: "packages/server/a.ts", text: `import "/${"home"}/me/a.ts";` }],
    "the engine has no ambient time or randomness": [
      { path: "packages/engine/src/a.ts", text: "const at = Date.now();" },
      { path: "packages/engine/src/b.ts", text: "const at = new globalThis.Date();" },
      { path: "packages/engine/src/c/d.ts", text: "const p = Math.random() < 0.5;" },
    ],
    "a shipped module has at most 500 lines": [{ path: "packages/server/src/a.ts", text: "let a;\n".repeat(501) }],
  };

  test.each(textRules.map(({ name }) => name))("of '%s' is reported in each file", (name) => {
    const files = planted[name] ?? [];
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      expect(textRuleViolations([file])).toEqual([expect.stringContaining(`${name}: ${file.path}:`)]);
    }
  });

  test("is not seen where the rule does not apply", () => {
    const allowed: SourceFile[] = [
      { path: "packages/server/src/a.ts", text: "const at = Date.now();" },
      { path: "packages/engine/src/a.test.ts", text: "const p = Math.random();" },
      { path: "packages/server/src/a.ts", text: "let a;\n".repeat(500) },
      { path: "packages/server/src/a.ts", text: "reader.skip(4);" },
    ];
    expect(textRuleViolations(allowed)).toEqual([]);
  });
});
