/** Threads that may fall behind give way to the message path. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { constants, setPriority } from "node:os";

/**
 * Lowers the scheduling priority of the calling thread, and of threads that it starts, where the system can (Linux: a thread has its
 * own). Elsewhere nothing changes, and nothing depends on it.
 */
export const yieldToMessagePath = (): void => {
  try {
    const thread = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    setPriority(thread, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // Not Linux, or not allowed: the thread runs as all others.
  }
};

/**
 * The same for the threads of libuv's pool, which this process has one of: DuckDB's queries run there. To be called once the pool
 * works; nothing of the message path may use it.
 */
export const poolYieldsToMessagePath = (): void => {
  try {
    for (const thread of readdirSync("/proc/self/task")) {
      if (readFileSync(`/proc/self/task/${thread}/comm`, "utf8").trim() === "libuv-worker")
        setPriority(Number(thread), constants.priority.PRIORITY_BELOW_NORMAL);
    }
  } catch {
    // As above.
  }
};
