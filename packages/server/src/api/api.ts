/** Starts and stops the control thread. */
import { type MessagePort, Worker } from "node:worker_threads";
import { errorFromWire } from "../threads/index.ts";
import { type ApiLimits, apiLimits } from "./limits.ts";
import type { FromThread, ThreadOptions } from "./thread.ts";

/** What the API needs of its node. */
export interface ApiOptions {
  /** Where {@link Control} is answered (openRpc). It is moved to the thread. */
  readonly controlPort: MessagePort;
  /** Where the log is served (serveLog). It is moved to the thread. */
  readonly logPort: MessagePort;
  readonly host: string;
  /** 0 chooses a free one. */
  readonly port: number;
  /** Made with a random token, mode 0600, if it does not exist. */
  readonly tokenFile: string;
  /** Streams that exist although nothing may be stored in them yet. */
  readonly streams: readonly { readonly name: string; readonly partitions: number }[];
  readonly limits?: Partial<ApiLimits>;
}

/** A running API. */
export interface Api {
  /** `http://host:port`, with the port that it listens on. */
  readonly url: string;
  readonly port: number;
  /** Settles when the thread has ended, for whatever reason; rejects if it crashed. */
  readonly closed: Promise<void>;
  /** Takes no more requests, ends the followers of streams, waits for answers under way (at most `stopDeadlineMs`). */
  [Symbol.asyncDispose](): Promise<void>;
}

const threadFile = new URL(import.meta.url.endsWith(".ts") ? "./thread.ts" : "./thread.js", import.meta.url);

/**
 * Starts the API in its thread.
 *
 * @throws HeadraceError `HR_PORT_IN_USE` with host and port; `HR_DATA_FOLDER_UNUSABLE` when the token cannot be stored
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { controlPort, logPort, host, port, tokenFile, streams } = options;
  const limits = { ...apiLimits, ...options.limits };
  const workerData: ThreadOptions = { controlPort, logPort, host, port, tokenFile, streams, limits };
  const worker = new Worker(threadFile, { name: "control", workerData, transferList: [controlPort, logPort] });

  const ended = Promise.withResolvers<void>();
  // Whoever waits for `closed` is told; nobody has to.
  ended.promise.catch(() => {});
  worker.once("error", ended.reject);
  worker.once("exit", () => ended.resolve());

  const started = Promise.withResolvers<{ url: string; port: number }>();
  worker.once("message", (message: FromThread) => {
    if ("error" in message) started.reject(errorFromWire(message.error));
    else started.resolve(message);
  });
  ended.promise.then(() => started.reject(new Error("the control thread ended while it started")), started.reject);

  const place = await started.promise;
  return {
    ...place,
    closed: ended.promise,
    [Symbol.asyncDispose]: async () => {
      worker.postMessage("stop");
      const late = setTimeout(() => void worker.terminate(), limits.stopDeadlineMs + 500);
      await ended.promise.catch(() => {});
      clearTimeout(late);
    },
  };
}
