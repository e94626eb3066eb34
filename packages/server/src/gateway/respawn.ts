/** Starts something again after it has died, later each time; gives up when it dies too often. */

/** What lives for this long has recovered. */
const recoveredMs = 60_000;
const deathsMax = 5;
const pauseMsMin = 100;

export class Respawn {
  readonly #start: () => Promise<void>;
  readonly #nowMs: () => number;
  #deaths = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(start: () => Promise<void>, nowMs = () => performance.now()) {
    this.#start = start;
    this.#nowMs = nowMs;
  }

  /** Starts it after a pause of 0.1, 0.2, 0.4 and 0.8 s; false when it has died five times without having lived a minute. */
  again(): boolean {
    const nowMs = this.#nowMs();
    if (nowMs - this.#lastMs >= recoveredMs) this.#deaths = 0;
    this.#lastMs = nowMs;
    this.#deaths += 1;
    if (this.#deaths >= deathsMax) return false;
    this.#timer = setTimeout(() => void this.#start(), pauseMsMin * 2 ** (this.#deaths - 1));
    return true;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
