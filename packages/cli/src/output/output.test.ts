/** Goal: what commands print is aligned, harmless to terminals and spreadsheets, and errors say what to do. */
import { HeadraceError } from "@headrace/sdk";
import { CommanderError } from "commander";
import { describe, expect, test } from "vitest";
import { reportError, UsageError } from "./errors.ts";
import { csv, table } from "./table.ts";
import { milliseconds, oneLine, safe } from "./text.ts";

test("a table aligns numbers to the right and cuts long cells", () => {
  expect(
    table(
      ["device", "n"],
      [
        ["p1", 1],
        ["pump-2", 20],
        ["x".repeat(80), null],
      ],
    ),
  ).toBe(
    [
      `device${" ".repeat(54)}   n`,
      `${"-".repeat(60)}  --`,
      `p1${" ".repeat(58)}   1`,
      `pump-2${" ".repeat(54)}  20`,
      `${"x".repeat(59)}…`,
    ].join("\n"),
  );
  expect(table(["a"], [])).toBe("a\n-");
});

test("text from devices cannot move the cursor or change colours", () => {
  expect(safe("a\u001b[2Jb\u0007\u202e")).toBe("a\ufffd[2Jb\ufffd\ufffd");
  expect(oneLine({ a: "\u001b" })).toBe('{"a":"\\u001b"}');
  expect(table(["a"], [["x\ny"]])).toContain("x\ufffdy");
});

test("CSV is quoted, and formulas of devices are text", () => {
  expect(
    csv(
      ["a", "b"],
      [
        ['say "hi", you', null],
        [-1, true],
      ],
    ),
  ).toBe('a,b\r\n"say ""hi"", you",\r\n-1,true\r\n');
  const cells = ["=1+1", "+cmd", "@SUM(A1)", "-2+3", "\tx", "-12.5", "9007199254740993"];
  expect(
    csv(
      ["c"],
      cells.map((cell) => [cell]),
    ),
  ).toBe("c\r\n'=1+1\r\n'+cmd\r\n'@SUM(A1)\r\n'-2+3\r\n'\tx\r\n-12.5\r\n9007199254740993\r\n");
});

test("durations are short", () => {
  expect([0.123, 12.4, 1234].map(milliseconds)).toEqual(["0.1 ms", "12 ms", "1.2 s"]);
});

describe("errors", () => {
  const report = (error: unknown, asJson: boolean): [number, string] => {
    let text = "";
    const code = reportError(error, asJson, (more) => {
      text += more;
    });
    return [code, text];
  };
  const inUse = new HeadraceError("HR_PORT_IN_USE", "port 1883 on 127.0.0.1 is in use");

  test("for people: what failed, what to do, the code", () => {
    expect(report(inUse, false)).toEqual([
      1,
      "headrace: port 1883 on 127.0.0.1 is in use\n  Stop the other program or choose another port.  [HR_PORT_IN_USE]\n",
    ]);
    expect(report(new TypeError("x is undefined"), false)[1]).toContain("[HR_INTERNAL]");
  });
  test("for programs: one object", () => {
    const [code, text] = report(inUse, true);
    expect([code, JSON.parse(text)]).toEqual([
      1,
      { error: { code: "HR_PORT_IN_USE", message: inUse.message, action: inUse.action } },
    ]);
  });
  test("wrong usage is 2, help is 0", () => {
    expect(report(new UsageError("no"), false)).toEqual([2, "headrace: no\n"]);
    expect(report(new CommanderError(1, "commander.unknownCommand", "error: no"), false)).toEqual([2, ""]);
    expect(report(new CommanderError(0, "commander.helpDisplayed", "(outputHelp)"), false)).toEqual([0, ""]);
  });
});
