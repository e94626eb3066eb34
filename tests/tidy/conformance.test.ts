// The page of MQTT statements says what the tests say, and no tag names a statement that does not exist.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { counts, matrix, page, pagePath } from "../../tools/conformance/matrix.ts";

test.each(["v4", "v5"] as const)(
  "every tag of %s names a statement, and the statements are counted once",
  (version) => {
    const { rows, unknown } = matrix(version);
    expect(unknown).toEqual([]);
    expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
    const { statements, proven, exempt, failing } = counts(rows);
    expect(proven + exempt + failing).toBe(statements);
    // A statement that is excused is not proven as well: one of both is wrong.
    expect(rows.filter(({ tests, exempt: reason }) => tests.length > 0 && reason !== undefined)).toEqual([]);
  },
);

test("docs/reference/mqtt-conformance.md is what `npm run conformance -- mqtt` writes", () => {
  expect(readFileSync(pagePath, "utf8")).toBe(page());
});
