import { describe, expect, test } from "vitest";
import { blobsConformance } from "./blobs-conformance.ts";
import { MemoryBlobs } from "./memory-blobs.ts";

describe("blobs in memory are Blobs", () => {
  blobsConformance(async () => ({ blobs: new MemoryBlobs(), close: async () => undefined }), {
    test,
    equal: (actual, expected) => expect(actual).toEqual(expected),
  });
});
