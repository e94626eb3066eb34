import { describe, expect, test } from "vitest";
import { byteSize, durationMs } from "./units.ts";

describe("durations", () => {
  test.each([
    ["500ms", 500],
    ["10s", 10_000],
    ["1.5s", 1500],
    ["1m", 60_000],
    ["12h", 43_200_000],
    ["30d", 2_592_000_000],
  ])("%s is %d ms", (text, ms) => {
    expect(durationMs(text)).toBe(ms);
  });

  test.each(["", "10", "10 s", "-1s", "0s", "1w", "s", "1e3s", "9999999999999d", "1constructor"])(
    "%j is refused with its value",
    (text) => {
      expect(() => durationMs(text)).toThrow(
        expect.objectContaining({ code: "HR_APP_INVALID", message: expect.stringContaining(JSON.stringify(text)) }),
      );
    },
  );
});

describe("sizes", () => {
  test.each([
    ["1B", 1],
    ["10GB", 1e10],
    ["512MiB", 536_870_912],
    ["1.5KiB", 1536],
  ])("%s is %d bytes", (text, bytes) => {
    expect(byteSize(text)).toBe(bytes);
  });

  test.each(["", "10", "10gb", "1PB"])("%j is refused", (text) => {
    expect(() => byteSize(text)).toThrow(expect.objectContaining({ code: "HR_APP_INVALID" }));
  });
});
