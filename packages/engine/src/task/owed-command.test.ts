/** The record of a command: whatever its words are, everything that is cut from it says what went in; golden bytes of the layout. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isPackedCommand, OwedCommand, packCommand, packedCommandId, readOwed } from "./owed-command.ts";

const decoder = new TextDecoder();
const json = (bytes: Uint8Array): unknown => JSON.parse(decoder.decode(bytes));
const text = fc.oneof(fc.string(), fc.string({ unit: "grapheme" }), fc.constantFrom('"', "\\", "é", "\u0000", "a/b"));

describe("the record of a command", () => {
  test("gives back what went into it, whatever the words are", () => {
    fc.assert(
      fc.property(
        fc.record({
          id: text,
          device: text,
          name: text,
          args: fc.jsonValue(),
          deadlineMs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
          key: text,
          function: text,
        }),
        fc.boolean(),
        ({ function: functionName, ...fields }, isOwnKey) => {
          const command = { ...fields, key: isOwnKey ? fields.device : fields.key };
          const bytes = packCommand(command, functionName);
          const { id, device, name, args, deadlineMs, key } = command;
          expect(isPackedCommand(bytes)).toBe(true);
          expect(packedCommandId(bytes)).toBe(id);
          const owed = new OwedCommand(bytes.slice());
          expect([owed.id, owed.device, owed.name, owed.deadlineMs, owed.key]).toEqual([
            id,
            device,
            name,
            deadlineMs,
            key,
          ]);
          // JSON knows no -0.
          const asJson = JSON.parse(JSON.stringify(args));
          expect(owed.args).toEqual(asJson);
          expect(json(owed.payload)).toEqual({ id, name, args: asJson, deadline: deadlineMs });
          const row = { id, name, args: asJson, device, deadlineMs, status: "sent" };
          expect(json(owed.row("sent"))).toEqual(row);
          expect(json(owed.row("failed", `,"error":"no"`))).toEqual({ ...row, status: "failed", error: "no" });
          expect(readOwed(bytes)).toEqual({
            id,
            key,
            function: functionName,
            effect: { kind: "command", device, name, args: asJson, deadlineMs },
          });
        },
      ),
    );
  });

  test("has this layout", () => {
    const bytes = packCommand(
      { id: "f:0:1:0:7:0", device: "p1", name: "fan", args: { on: true }, deadlineMs: 1_700_000_000_000, key: "p1" },
      "guard",
    );
    const hex = Array.from(bytes.subarray(0, 24), (byte) => byte.toString(16).padStart(2, "0")).join("");
    expect(hex).toBe("01010b0003000200330000005c00000000008056febc7842");
    expect(decoder.decode(bytes.subarray(24))).toBe(
      '{"id":"f:0:1:0:7:0","name":"fan","args":{"on":true},"device":"p1","deadlineMs":1700000000000,"key":"p1","function":"guard"}',
    );
  });

  test("of version 0.1 is JSON and is read as well", () => {
    const effect = { kind: "command", device: "p1", name: "fan", args: null, deadlineMs: 5 };
    const old = new TextEncoder().encode(JSON.stringify({ id: "i", key: "k", function: "guard", effect }));
    expect(isPackedCommand(old)).toBe(false);
    expect(readOwed(old)).toEqual({ id: "i", key: "k", function: "guard", effect });
  });

  test.each([
    [{ args: "x".repeat(200_000) }, /exceeds the limit/],
    [{ name: "x".repeat(30_000) }, /exceeds the limit/],
  ])("beyond its limits is refused", (more, message) => {
    const command = { id: "i", device: "d", name: "n", args: null, deadlineMs: 1, key: "d", ...more };
    expect(() => packCommand(command, "f")).toThrow(message);
  });
});
