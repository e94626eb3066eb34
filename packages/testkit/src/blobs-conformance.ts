/** What every driver of the Blobs port does, as tests: run it against each of them. */
import { type Blobs, blobBytesMax } from "@headrace/engine";
import type { Runner } from "./log-conformance.ts";

/** A store under test. */
export interface OpenBlobs {
  readonly blobs: Blobs;
  /** Closes it, and opens it again over what it kept; absent for a store that keeps nothing. */
  readonly reopen?: () => Promise<Blobs>;
  close(): Promise<void>;
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | undefined): string | undefined => bytes && new TextDecoder().decode(bytes);
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "settled",
    (error: { code?: unknown; name?: unknown }) => String(typeof error.code === "string" ? error.code : error.name),
  );
/** SHA-256 of "content", and a name that promises it. */
const hashed = "objects/ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";

/** Registers the suite. @param make opens an empty store */
export const blobsConformance = (make: () => Promise<OpenBlobs>, { test, equal }: Runner): void => {
  const withBlobs = (name: string, run: (blobs: Blobs, open: OpenBlobs) => Promise<void>): void =>
    test(name, async () => {
      const open = await make();
      try {
        await run(open.blobs, open);
      } finally {
        await open.close();
      }
    });
  const listed = async (blobs: Blobs, prefix: string): Promise<[string, number][]> => {
    const found: [string, number][] = [];
    for await (const { name, byteLength } of blobs.list(prefix)) found.push([name, byteLength]);
    return found;
  };

  withBlobs("what is put is got byte by byte, and nothing under another name", async (blobs) => {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, at) => (at * 7) & 0xff);
    equal(await blobs.put("a/b", bytes), "stored");
    equal(await blobs.put("empty", new Uint8Array()), "stored");
    // The store has a copy of its own, and gives one.
    const [first] = bytes;
    bytes.fill(0, 0, 10);
    const got = await blobs.get("a/b");
    equal([got?.byteLength, got?.[0], got?.[99_999]], [100_000, first, (99_999 * 7) & 0xff]);
    got?.fill(1);
    equal((await blobs.get("a/b"))?.[1], 7);
    equal((await blobs.get("empty"))?.byteLength, 0);
    for (const name of ["a", "a/b/c", "b", "A/b"]) equal(await blobs.get(name), undefined);
  });

  withBlobs("an object is never replaced; of puts at once exactly one stores", async (blobs) => {
    equal(await blobs.put("o", bytesOf("first")), "stored");
    equal(await blobs.put("o", bytesOf("second")), "exists");
    equal(textOf(await blobs.get("o")), "first");
    const answers = await Promise.all(["p", "q", "r"].map((text) => blobs.put("once", bytesOf(text))));
    equal([...answers].sort(), ["exists", "exists", "stored"]);
    equal(textOf(await blobs.get("once")), ["p", "q", "r"][answers.indexOf("stored")]);
  });

  withBlobs("a name that is a hash holds what has that hash, and nothing else", async (blobs) => {
    equal(await codeOf(blobs.put(hashed, bytesOf("contents"))), "HR_BLOB_CORRUPT");
    equal(await blobs.get(hashed), undefined);
    equal(await blobs.put(hashed, bytesOf("content")), "stored");
    equal(await blobs.put(hashed, bytesOf("content")), "exists");
    equal(textOf(await blobs.get(hashed)), "content");
  });

  withBlobs("objects are listed by a prefix of their names, in order, with their sizes", async (blobs) => {
    for (const name of ["b/2", "b/10", "b-/1", "a", "b/1/x", "c/1"]) await blobs.put(name, bytesOf(name));
    equal(await listed(blobs, "b/"), [
      ["b/1/x", 5],
      ["b/10", 4],
      ["b/2", 3],
    ]);
    equal(
      (await listed(blobs, "b")).map(([name]) => name),
      ["b-/1", "b/1/x", "b/10", "b/2"],
    );
    equal(await listed(blobs, "b/1/x/"), []);
    equal((await listed(blobs, "")).length, 6);
    equal(await listed(blobs, "d"), []);
  });

  withBlobs("an object may have others below its name", async (blobs) => {
    for (const name of ["a/b/c", "a/b", "a", "a/b/c/d"]) equal(await blobs.put(name, bytesOf(name)), "stored");
    equal(
      (await listed(blobs, "a")).map(([name]) => name),
      ["a", "a/b", "a/b/c", "a/b/c/d"],
    );
    await blobs.delete("a/b");
    equal([await blobs.get("a/b"), textOf(await blobs.get("a/b/c"))], [undefined, "a/b/c"]);
  });

  withBlobs(
    "what is deleted is gone, deleting it again is no mistake, and its name can be used again",
    async (blobs) => {
      await blobs.put("a/1", bytesOf("x"));
      await blobs.put("a/2", bytesOf("y"));
      for (const name of ["a/1", "a/1", "never"]) await blobs.delete(name);
      equal([await blobs.get("a/1"), textOf(await blobs.get("a/2"))], [undefined, "y"]);
      equal(await listed(blobs, ""), [["a/2", 1]]);
      equal(await blobs.put("a/1", bytesOf("again")), "stored");
      equal(textOf(await blobs.get("a/1")), "again");
    },
  );

  withBlobs("names that lead elsewhere or that a store could not keep are refused", async (blobs) => {
    const names = [
      "",
      "/a",
      "a/",
      "a//b",
      "..",
      "../a",
      "a/../b",
      ".a",
      "a/.tmp",
      "a b",
      "a\0b",
      "ä",
      "a\\b",
      "a:b",
      "%2e",
      "x".repeat(201),
      `${"y".repeat(150)}/`.repeat(4),
    ];
    for (const name of names) {
      equal(await codeOf(blobs.put(name, bytesOf("x"))), "HR_BAD_REQUEST");
      equal(await codeOf(blobs.get(name)), "HR_BAD_REQUEST");
      equal(await codeOf(blobs.delete(name)), "HR_BAD_REQUEST");
    }
    equal(await listed(blobs, ""), []);
    equal(await blobs.put("x".repeat(200), bytesOf("x")), "stored");
  });

  withBlobs("an object beyond the limit is refused", async (blobs) => {
    equal(await codeOf(blobs.put("large", new Uint8Array(blobBytesMax + 1))), "HR_BLOB_TOO_LARGE");
    equal(await blobs.get("large"), undefined);
  });

  withBlobs("an aborted call changes nothing", async (blobs) => {
    const aborted = AbortSignal.abort();
    await blobs.put("there", bytesOf("x"));
    equal(await codeOf(blobs.put("o", bytesOf("x"), aborted)), "AbortError");
    equal(await codeOf(blobs.delete("there", aborted)), "AbortError");
    equal(await codeOf(blobs.get("there", aborted)), "AbortError");
    equal(await codeOf(blobs.list("", aborted)[Symbol.asyncIterator]().next()), "AbortError");
    equal(await listed(blobs, ""), [["there", 1]]);
  });

  withBlobs("opened again, it holds what was put and not what was deleted", async (blobs, { reopen }) => {
    if (!reopen) return;
    for (let at = 0; at < 20; at++) await blobs.put(`n/${at}`, bytesOf(`${at}`));
    for (let at = 0; at < 20; at += 2) await blobs.delete(`n/${at}`);
    const again = await reopen();
    equal((await listed(again, "n/")).length, 10);
    equal([textOf(await again.get("n/7")), await again.get("n/8")], ["7", undefined]);
    equal(await again.put("n/7", bytesOf("other")), "exists");
  });
};
