/**
 * The embedded driver of the Blobs port: a file per object in a folder. An object is written beside, synced, and given its name by a link, which the
 * file system refuses for a name that is taken; then the folder is synced. So a crash at any step leaves the object whole or none.
 *
 * The file of `a/b` is `a/b~`: names cannot end so, and an object may have others below its name. Calls are as synchronous as the Files port is: a
 * large object stops its thread for as long as the disk takes.
 */
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { type BlobInfo, type Blobs, checkBlobHash, checkBlobName, checkBlobSize, type Files } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { makeDurableFolder, nodeFiles, syncFolder } from "../log/index.ts";

const objectEnd = "~";
const temporaryStart = "~";

const codeOf = (error: unknown): unknown => (error as NodeJS.ErrnoException).code;
/** Also where a folder of the path is no folder. */
const isMissing = (error: unknown): boolean => codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR";
const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

export class EmbeddedBlobs implements Blobs {
  readonly #folder: string;
  readonly #files: Files;
  #temporaries = 0;

  /**
   * For the process that has the lock of the data folder: what an earlier one left unfinished is removed.
   * @param folder made if it is not there
   */
  constructor(folder: string, files: Files = nodeFiles) {
    this.#folder = folder;
    this.#files = files;
    makeDurableFolder(folder, files);
    for (const name of files.list(folder)) if (name.startsWith(temporaryStart)) files.remove(join(folder, name));
  }

  async put(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<"stored" | "exists"> {
    signal?.throwIfAborted();
    checkBlobName(name);
    checkBlobSize(name, bytes.byteLength);
    checkBlobHash(name, () => hashOf(bytes));
    const files = this.#files;
    const path = this.#path(name);
    if (files.exists(path)) {
      // Whoever gave it its name may not have come to this.
      syncFolder(dirname(path), files);
      return "exists";
    }
    const temporary = join(this.#folder, `${temporaryStart}${this.#temporaries++}`);
    try {
      this.#write(temporary, bytes);
      makeDurableFolder(dirname(path), files);
      files.link(temporary, path);
      syncFolder(dirname(path), files);
    } catch (error) {
      if (codeOf(error) === "ENOSPC" || codeOf(error) === "EDQUOT") {
        throw new HeadraceError("HR_DISK_FULL", `there is no room for the blob ${name} of ${bytes.byteLength} bytes`, {
          cause: error,
        });
      }
      throw error;
    } finally {
      if (files.exists(temporary)) files.remove(temporary);
    }
    return "stored";
  }

  #write(path: string, bytes: Uint8Array): void {
    const files = this.#files;
    const descriptor = files.open(path, "w");
    try {
      for (let at = 0; at < bytes.byteLength; ) at += files.write(descriptor, bytes, at, bytes.byteLength - at);
      files.fsync(descriptor);
    } finally {
      files.close(descriptor);
    }
  }

  async get(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted();
    checkBlobName(name);
    let bytes: Uint8Array;
    try {
      bytes = this.#files.readFile(this.#path(name));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    checkBlobHash(name, () => hashOf(bytes));
    return bytes;
  }

  /** Reads the names of the whole store first: about 100 bytes of memory each. */
  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<BlobInfo> {
    signal?.throwIfAborted();
    const names = this.#namesBelow("").filter((name) => name.startsWith(prefix));
    for (const name of names.sort()) {
      signal?.throwIfAborted();
      const byteLength = this.#size(this.#path(name));
      if (byteLength !== undefined) yield { name, byteLength };
    }
  }

  #namesBelow(start: string): string[] {
    const names: string[] = [];
    for (const entry of this.#entries(join(this.#folder, start))) {
      if (entry.startsWith(temporaryStart)) continue;
      if (entry.endsWith(objectEnd)) names.push(start + entry.slice(0, -objectEnd.length));
      else names.push(...this.#namesBelow(`${start}${entry}/`));
    }
    return names;
  }
  #entries(folder: string): string[] {
    try {
      return this.#files.list(folder);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }
  #size(path: string): number | undefined {
    let descriptor: number;
    try {
      descriptor = this.#files.open(path, "r");
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    try {
      return this.#files.size(descriptor);
    } finally {
      this.#files.close(descriptor);
    }
  }

  async delete(name: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    checkBlobName(name);
    const path = this.#path(name);
    try {
      this.#files.remove(path);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    syncFolder(dirname(path), this.#files);
  }

  #path(name: string): string {
    return join(this.#folder, name) + objectEnd;
  }
}
