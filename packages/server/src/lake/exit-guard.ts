/**
 * While DuckDB reads rows from the lake's thread, that thread must not be torn down: the binding would abort the process.
 * So an ending process (`process.exit`) tells the thread to stop and waits, for moments, until no write is under way.
 */
const writing = 0;
const stopping = 1;
const exitWaitMs = 2000;

/** Shared by both threads. */
export const makeExitFlags = (): Int32Array => new Int32Array(new SharedArrayBuffer(8));

/** In the lake's thread: runs a write unless the process ends. */
export const guarded = async <T>(flags: Int32Array, write: () => Promise<T>): Promise<T> => {
  Atomics.store(flags, writing, 1);
  try {
    if (isStopping(flags)) throw new Error("the process ends");
    return await write();
  } finally {
    Atomics.store(flags, writing, 0);
    Atomics.notify(flags, writing);
  }
};

export const isStopping = (flags: Int32Array): boolean => Atomics.load(flags, stopping) === 1;

/** In the thread that ends the process. */
export const stopWrites = (flags: Int32Array): void => {
  Atomics.store(flags, stopping, 1);
  Atomics.wait(flags, writing, 1, exitWaitMs);
};
