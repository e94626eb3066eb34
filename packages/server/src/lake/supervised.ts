/**
 * Keeps the lake running: one that has failed is opened again, after a pause that grows, and goes on from the positions of its manifest,
 * so that no row is lost or doubled. The same way it takes new streams.
 */
import type { MessagePort } from "node:worker_threads";
import { HeadraceError } from "@headrace/sdk";
import { openLake } from "./open.ts";
import type { Lake, LakeOptions, LakeStats, LakeStream, TrimmableChannel } from "./options.ts";

export interface SupervisedLakeOptions extends Omit<LakeOptions, "logPort" | "onFailed"> {
  /** Serves the log to a new lake. */
  readonly newLogPort: () => MessagePort;
  /** Told when the lake has stopped, and when it has not come back. */
  readonly onTrouble: (message: string) => void;
  /** First pause before a failed lake is opened again; doubles up to a minute. Default 1,000 ms. */
  readonly reopenAfterMs?: number;
}

export interface SupervisedLake extends Lake {
  /** Follows these streams from now on; queries wait meanwhile. @throws HR_LAKE_CORRUPT */
  setStreams(streams: readonly LakeStream[]): Promise<void>;
}

const pauseMsMax = 60_000;

class Supervised implements SupervisedLake {
  readonly #options: SupervisedLakeOptions;
  readonly #listeners = new Set<(channels: readonly TrimmableChannel[]) => void>();
  #streams: readonly LakeStream[];
  #lake: Lake | undefined;
  #stats: LakeStats = { rows: 0, files: 0, bytes: 0, lagRows: 0, rowsByStream: {} };
  #timer: NodeJS.Timeout | undefined;
  #pauseMs: number;
  #opening: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: SupervisedLakeOptions) {
    this.#options = options;
    this.#streams = options.streams;
    this.#pauseMs = this.#pauseMsMin;
  }

  get #pauseMsMin(): number {
    return this.#options.reopenAfterMs ?? 1000;
  }

  async open(): Promise<void> {
    const { newLogPort, onTrouble, reopenAfterMs: _, ...options } = this.#options;
    const lake = await openLake({
      ...options,
      streams: this.#streams,
      logPort: newLogPort(),
      onFailed: (error) => {
        if (this.#lake !== lake || this.#closed) return;
        onTrouble(`the lake has stopped and is opened again: ${error.message}`);
        this.#reopenLater();
      },
    });
    this.#lake = lake;
    for (const listener of this.#listeners) lake.onTrimmable(listener);
  }

  #reopenLater(): void {
    this.#opening = this.#retire();
    this.#timer = setTimeout(() => {
      this.#opening = this.#opening.then(() => this.#reopen());
    }, this.#pauseMs);
    this.#timer.unref();
    this.#pauseMs = Math.min(pauseMsMax, this.#pauseMs * 2);
  }

  async #reopen(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.open();
      this.#pauseMs = this.#pauseMsMin;
    } catch (error) {
      this.#options.onTrouble(`the lake cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
      this.#reopenLater();
    }
  }

  /** Lets go of the lake; settles when its thread has ended. */
  async #retire(): Promise<void> {
    const lake = this.#lake;
    if (!lake) return;
    this.#stats = lake.stats();
    this.#lake = undefined;
    await lake[Symbol.asyncDispose]().catch(() => undefined);
  }

  async setStreams(streams: readonly LakeStream[]): Promise<void> {
    if (JSON.stringify(streams) === JSON.stringify(this.#streams)) return;
    this.#streams = streams;
    clearTimeout(this.#timer);
    const before = this.#opening.catch(() => undefined);
    const change = async (): Promise<void> => {
      await before;
      await this.#retire();
      try {
        await this.open();
      } catch (error) {
        this.#reopenLater();
        throw error;
      }
    };
    this.#opening = change();
    await this.#opening;
  }

  async query(...query: Parameters<Lake["query"]>): ReturnType<Lake["query"]> {
    await this.#opening.catch(() => undefined);
    return this.#running.query(...query);
  }
  async flush(): Promise<void> {
    await this.#opening.catch(() => undefined);
    await this.#running.flush();
  }
  get #running(): Lake {
    if (this.#lake) return this.#lake;
    throw new HeadraceError("HR_UNAVAILABLE", "the lake has stopped and is being opened again");
  }
  stats(): LakeStats {
    return this.#lake?.stats() ?? this.#stats;
  }
  onTrimmable(listener: (channels: readonly TrimmableChannel[]) => void): () => void {
    this.#listeners.add(listener);
    this.#lake?.onTrimmable(listener);
    return () => this.#listeners.delete(listener);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#opening.catch(() => undefined);
    await this.#lake?.[Symbol.asyncDispose]();
  }
}

/**
 * Opens the lake and keeps it open.
 * @throws HR_LAKE_CORRUPT when the manifest is damaged at the first opening; later that is tried again
 */
export const superviseLake = async (options: SupervisedLakeOptions): Promise<SupervisedLake> => {
  const lake = new Supervised(options);
  await lake.open();
  return lake;
};
