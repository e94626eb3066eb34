/**
 * fdatasync in a thread of its own, so that the message path reads, packs and writes to sockets meanwhile. Not on libuv's pool, where a query or a
 * password hash may stand before it (DESIGN: a hash there moved a commit from 0.25 to 170 ms at p99). Costs about 50 us of CPU a sync.
 */
import { Worker } from "node:worker_threads";

/** Places in the shared memory: a number that changes with each request, and the descriptor that is asked for. */
export const syncCounter = 0;
export const syncDescriptor = 1;
/** In place of a descriptor: the thread ends. */
export const syncClose = -1;

/** Makes the bytes of a file durable while its caller goes on. */
export interface Syncer {
  /** Syncs a descriptor; `done` gets what went wrong, if anything did, and never before this returns. One at a time: the next may be asked for from within `done`. */
  sync(descriptor: number, done: (failure: string | undefined) => void): void;
  /** Ends it; nothing may be under way. */
  close(): void;
}

export class SyncThread implements Syncer {
  readonly #shared = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;
  #done: ((failure: string | undefined) => void) | undefined;

  constructor() {
    const file = import.meta.url.endsWith(".ts") ? "./sync-worker.ts" : "./sync-worker.js";
    const workerData = { shared: this.#shared.buffer };
    this.#worker = new Worker(new URL(file, import.meta.url), { name: "log-sync", workerData });
    this.#worker.on("message", (failure: string | undefined) => this.#answer(failure));
    this.#worker.on("error", (error) => this.#answer(String(error)));
    this.#worker.unref();
  }

  #answer(failure: string | undefined): void {
    const done = this.#done;
    this.#done = undefined;
    this.#worker.unref();
    done?.(failure);
  }

  sync(descriptor: number, done: (failure: string | undefined) => void): void {
    this.#done = done;
    // Somebody waits for it: the process must not end before.
    this.#worker.ref();
    Atomics.store(this.#shared, syncDescriptor, descriptor);
    Atomics.add(this.#shared, syncCounter, 1);
    Atomics.notify(this.#shared, syncCounter);
  }

  close(): void {
    this.sync(syncClose, () => undefined);
    this.#worker.unref();
  }
}
