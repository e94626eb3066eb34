/** Silent connections are found by one timer: each stands in the bucket of the second in which it would be too silent. */

export interface Watched {
  /** When it ends unless something arrives; Infinity for never. */
  readonly dueMs: number;
  expired(): void;
}

const tickMs = 1_000;

export class KeepAlive {
  readonly #nowMs: () => number;
  readonly #buckets = new Map<number, Set<Watched>>();
  readonly #places = new Map<Watched, number>();
  readonly #timer: NodeJS.Timeout;
  #tick: number;

  /** @param nowMs a clock that does not jump */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#tick = Math.floor(nowMs() / tickMs);
    this.#timer = setInterval(() => this.#turn(), tickMs).unref();
  }

  /** Watches `watched`, or looks at it anew when its due time came nearer. */
  add(watched: Watched): void {
    this.remove(watched);
    const bucket = Math.max(Math.ceil(Math.min(watched.dueMs, this.#nowMs() + 86_400_000) / tickMs), this.#tick);
    const set = this.#buckets.get(bucket) ?? new Set();
    this.#buckets.set(bucket, set);
    set.add(watched);
    this.#places.set(watched, bucket);
  }

  remove(watched: Watched): void {
    const bucket = this.#places.get(watched);
    if (bucket === undefined) return;
    this.#places.delete(watched);
    const set = this.#buckets.get(bucket);
    set?.delete(watched);
    if (set?.size === 0) this.#buckets.delete(bucket);
  }

  #turn(): void {
    const nowMs = this.#nowMs();
    const tick = Math.floor(nowMs / tickMs);
    for (; this.#tick <= tick; this.#tick++) {
      const set = this.#buckets.get(this.#tick);
      if (!set) continue;
      for (const watched of [...set]) {
        this.remove(watched);
        if (watched.dueMs <= nowMs) watched.expired();
        else this.add(watched);
      }
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
