import { describe, expect, test } from "vitest";
import { leasesConformance } from "./leases-conformance.ts";
import { MemoryLeases } from "./memory-leases.ts";

describe("leases in memory are Leases", () => {
  leasesConformance(
    async () => {
      let nowMs = 1_000_000;
      const ttlMs = 10_000;
      const store = new MemoryLeases({ nowMs: () => nowMs, ttlMs });
      return {
        leases: store.connect("h"),
        shared: {
          connect: (holder) => store.connect(holder),
          ttlMs,
          advance: (ms) => {
            nowMs += ms;
          },
        },
        // The store outlives its holders.
        reopen: async () => store.connect("h"),
        close: async () => undefined,
      };
    },
    { test, equal: (actual, expected) => expect(actual).toEqual(expected) },
  );
});
