import { describe, expect, test } from "vitest";
import { busConformance, type TestMessage } from "./bus-conformance.ts";
import { MemoryBus } from "./memory-bus.ts";

describe("the bus in memory is a Bus", () => {
  const open = async () => {
    const bus = new MemoryBus<TestMessage>();
    return { join: async (member: Parameters<typeof bus.join>[0]) => bus.join(member), close: async () => undefined };
  };
  busConformance(open, { test, equal: (actual, expected) => expect(actual).toEqual(expected) });
});
