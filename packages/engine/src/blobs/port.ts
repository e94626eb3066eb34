/**
 * The Blobs port: immutable objects, for what is larger than a block or kept longer than a log. Embedded driver: a folder. Every driver passes the
 * same conformance suite.
 */
import { HeadraceError } from "@headrace/sdk";

/** The largest object, on every driver. */
export const blobBytesMax = 64 * 1024 * 1024;
const nameBytesMax = 512;
const segmentBytesMax = 200;

export interface BlobInfo {
  readonly name: string;
  readonly byteLength: number;
}

/**
 * A name is `segment/segment/…`, of ASCII letters, digits, `.`, `_` and `-`; a segment does not begin with a dot ({@link checkBlobName}). An object
 * whose last segment is the SHA-256 of its content (64 hex digits) is verified by `put` and by `get`. All calls that take a name
 * throw HR_BAD_REQUEST for one that is none. An abort before the store was asked changes nothing; later it leaves open whether the call took effect.
 */
export interface Blobs {
  /**
   * Stores an object if there is none of this name: what is there is never replaced. Durable before it settles, whichever the answer is.
   * @throws HR_BLOB_TOO_LARGE; HR_BLOB_CORRUPT when the name is the hash of something else; HR_DISK_FULL and nothing was stored
   */
  put(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<"stored" | "exists">;
  /** The whole object; undefined: there is none. The bytes are the caller's. @throws HR_BLOB_CORRUPT when they are not what was stored */
  get(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Objects whose name begins with `prefix`, in the order of their names; one that comes or goes meanwhile may be there or not. */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<BlobInfo>;
  /** Removes an object; one that is not there is no mistake. Only for what nothing refers to any more: whoever reads it then finds none. */
  delete(name: string, signal?: AbortSignal): Promise<void>;
}

const segmentPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

/** @throws HR_BAD_REQUEST saying what is wrong with it */
export const checkBlobName = (name: string): void => {
  const isOne =
    name.length <= nameBytesMax &&
    name.split("/").every((segment) => segment.length <= segmentBytesMax && segmentPattern.test(segment));
  if (isOne) return;
  throw new HeadraceError(
    "HR_BAD_REQUEST",
    `${JSON.stringify(name.slice(0, 100))} is no name of a blob: segments of letters, digits, ".", "_" and "-" between slashes, none beginning with a dot, each at most ${segmentBytesMax} and all at most ${nameBytesMax} characters`,
    { data: { name } },
  );
};

/** @throws HR_BLOB_TOO_LARGE */
export const checkBlobSize = (name: string, byteLength: number): void => {
  if (byteLength <= blobBytesMax) return;
  throw new HeadraceError(
    "HR_BLOB_TOO_LARGE",
    `the blob ${name} has ${byteLength} bytes, the limit is ${blobBytesMax}`,
    { data: { name, byteLength, bytesMax: blobBytesMax } },
  );
};

const hashPattern = /(?:^|\/)([0-9a-f]{64})$/;

/** The SHA-256, in hex, that the name of a content-addressed object promises. */
export const promisedHash = (name: string): string | undefined => hashPattern.exec(name)?.[1];

/** @param hash SHA-256 of the content, in hex. @throws HR_BLOB_CORRUPT when the name promises another one */
export const checkBlobHash = (name: string, hash: () => string): void => {
  const promised = promisedHash(name);
  if (promised === undefined) return;
  const found = hash();
  if (found === promised) return;
  throw new HeadraceError("HR_BLOB_CORRUPT", `the content of the blob ${name} has the SHA-256 ${found}`, {
    data: { name, hash: found },
  });
};
