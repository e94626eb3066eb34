/** The Blobs port in memory: what drivers are compared with. */
import { createHash } from "node:crypto";
import { type BlobInfo, type Blobs, checkBlobHash, checkBlobName, checkBlobSize } from "@headrace/engine";

export class MemoryBlobs implements Blobs {
  readonly #objects = new Map<string, Uint8Array>();

  async put(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<"stored" | "exists"> {
    signal?.throwIfAborted();
    checkBlobName(name);
    checkBlobSize(name, bytes.byteLength);
    checkBlobHash(name, () => createHash("sha256").update(bytes).digest("hex"));
    if (this.#objects.has(name)) return "exists";
    this.#objects.set(name, bytes.slice());
    return "stored";
  }

  async get(name: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted();
    checkBlobName(name);
    return this.#objects.get(name)?.slice();
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<BlobInfo> {
    for (const name of [...this.#objects.keys()].sort()) {
      signal?.throwIfAborted();
      const bytes = this.#objects.get(name);
      if (bytes && name.startsWith(prefix)) yield { name, byteLength: bytes.byteLength };
    }
  }

  async delete(name: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    checkBlobName(name);
    this.#objects.delete(name);
  }
}
