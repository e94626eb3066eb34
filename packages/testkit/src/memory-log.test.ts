import { describe, expect, test } from "vitest";
import { logConformance } from "./log-conformance.ts";
import { MemoryLog } from "./memory-log.ts";

describe("the log in memory is a Log", () => {
  logConformance(async () => ({ log: new MemoryLog(), close: async () => undefined }), {
    test,
    equal: (actual, expected) => expect(actual).toEqual(expected),
  });
});
