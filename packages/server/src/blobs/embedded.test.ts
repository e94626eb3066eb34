/**
 * Goal: the embedded blobs are Blobs, and a crash or a full disk at any step of a put leaves the whole object or none. Method: the conformance suite
 * over a real folder, and the same files behind a port that fails at its n-th call.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Files } from "@headrace/engine";
import { blobsConformance } from "@headrace/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nodeFiles } from "../log/index.ts";
import { EmbeddedBlobs } from "./embedded.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headrace-blobs-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the embedded blobs are Blobs", () => {
  blobsConformance(
    async () => {
      const own = join(folder, "deep", "blobs");
      return {
        blobs: new EmbeddedBlobs(own),
        reopen: async () => new EmbeddedBlobs(own),
        close: async () => undefined,
      };
    },
    { test, equal: (actual, expected) => expect(actual).toEqual(expected) },
  );
});

/** Real files; `before` sees each call by its name and may throw in front of it. */
const watched = (before: (call: string, path: unknown) => void): Files =>
  new Proxy(nodeFiles, {
    get: (files, name: keyof Files) => {
      const call = files[name] as (...args: unknown[]) => unknown;
      return (...args: unknown[]): unknown => {
        before(name, args[0]);
        return call(...args);
      };
    },
  });

const bytes = new TextEncoder().encode("what is stored");

test("S15: a crash in front of any call of a put leaves the object whole or none, and nothing else behind the next start", async () => {
  let outcomes = "";
  for (let limit = 0; ; limit++) {
    const own = join(folder, String(limit));
    const started = new EmbeddedBlobs(own);
    let calls = 0;
    let isCounting = false;
    const crashing = new EmbeddedBlobs(
      own,
      watched(() => {
        // From here on nothing happens any more: what a process does that has ended.
        if (isCounting && calls++ >= limit) throw new Error("the process has ended");
      }),
    );
    isCounting = true;
    const ended = await crashing.put("a/b/c", bytes).then(
      () => "stored",
      () => "ended",
    );
    const after = new EmbeddedBlobs(own);
    const found = await after.get("a/b/c");
    if (found) expect(Buffer.from(found)).toEqual(Buffer.from(bytes));
    expect(await started.put("a/b/c", bytes)).toBe(found ? "exists" : "stored");
    expect(readdirSync(own)).toEqual(["a"]);
    outcomes += found ? "x" : "-";
    if (ended === "stored") break;
  }
  // First none, then the object; and there are steps enough to mean something.
  expect(outcomes).toMatch(/^-{8,}x{2,}$/);
});

test("S15: an object has its name only when its bytes are durable, and is told of only when its name is", async () => {
  const calls: string[] = [];
  const blobs = new EmbeddedBlobs(
    folder,
    watched((call, path) => {
      if (call === "fsync" || call === "link" || call === "write") calls.push(call);
      if (call === "open" && path === join(folder, "a")) calls.push("folder");
    }),
  );
  await blobs.put("a/first", bytes);
  calls.length = 0;
  await blobs.put("a/b", bytes);
  expect(calls).toEqual(["write", "fsync", "link", "folder", "fsync"]);
  calls.length = 0;
  // Somebody else may have linked it and not come to the sync.
  expect(await blobs.put("a/b", bytes)).toBe("exists");
  expect(calls).toEqual(["folder", "fsync"]);
});

test("S5: a full disk stores nothing, says so, and the same call succeeds when there is room", async () => {
  for (const full of ["open", "write", "fsync", "link"]) {
    // Opening makes the folder, which is not what is tried here.
    let isFull = false;
    const blobs = new EmbeddedBlobs(
      join(folder, full),
      watched((call, path) => {
        const isOurs = call !== "open" || String(path).includes("~");
        if (isFull && isOurs && call === full) throw Object.assign(new Error("no room"), { code: "ENOSPC" });
      }),
    );
    isFull = true;
    await expect(blobs.put("a", bytes)).rejects.toMatchObject({ code: "HR_DISK_FULL" });
    expect(await blobs.get("a")).toBeUndefined();
    isFull = false;
    expect(readdirSync(join(folder, full))).toEqual([]);
    expect(await blobs.put("a", bytes)).toBe("stored");
  }
});

test("S9: an object whose name is its hash is not handed out when a bit of it is wrong", async () => {
  const blobs = new EmbeddedBlobs(folder);
  const name = "objects/ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
  await blobs.put(name, new TextEncoder().encode("content"));
  const path = join(folder, `${name}~`);
  const stored = readFileSync(path);
  for (let bit = 0; bit < stored.byteLength * 8; bit += 5) {
    const damaged = Uint8Array.from(stored);
    damaged[bit >> 3] ^= 1 << (bit & 7);
    writeFileSync(path, damaged);
    await expect(blobs.get(name)).rejects.toMatchObject({ code: "HR_BLOB_CORRUPT" });
  }
});
