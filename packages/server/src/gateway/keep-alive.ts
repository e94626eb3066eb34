/**
 * Silent connections are found by one timer: each stands in the bucket of the second in which it would be too silent.
 *
 * The timer alone proves nothing: after the event loop has stood still, timers run before sockets are read, and what healthy
 * clients have sent meanwhile is still in the kernel. So who is due is looked at again once the sockets have been read, and after a
 * long stall (a paused machine) not before the network has had a moment as well.
 */

export interface Watched {
  /** When it ends unless something arrives; Infinity for never. */
  readonly dueMs: number;
  expired(): void;
}

const tickMs = 1_000;
/** A turn that is this late was not late by chance: the event loop stood still. */
const stallMs = 1_000;
/** What the network gets after a stall before anybody is called silent. */
const graceMs = 2_000;

/** How often, and for how long altogether, the event loop stood still. */
export interface Stalls {
  readonly count: number;
  readonly totalMs: number;
}

export class KeepAlive {
  readonly #nowMs: () => number;
  readonly #buckets = new Map<number, Set<Watched>>();
  readonly #places = new Map<Watched, number>();
  readonly #timer: NodeJS.Timeout;
  #tick: number;
  #turnDueMs: number;
  #graceUntilMs = Number.NEGATIVE_INFINITY;
  #stalls: Stalls = { count: 0, totalMs: 0 };

  /** @param nowMs a clock that does not jump */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#tick = Math.floor(nowMs() / tickMs);
    this.#turnDueMs = nowMs() + tickMs;
    this.#timer = setInterval(() => this.#turn(), tickMs).unref();
  }

  get stalls(): Stalls {
    return this.#stalls;
  }

  /** Watches `watched`, or looks at it anew when its due time came nearer. */
  add(watched: Watched): void {
    this.#place(watched, watched.dueMs);
  }

  remove(watched: Watched): void {
    const bucket = this.#places.get(watched);
    if (bucket === undefined) return;
    this.#places.delete(watched);
    const set = this.#buckets.get(bucket);
    set?.delete(watched);
    if (set?.size === 0) this.#buckets.delete(bucket);
  }

  #place(watched: Watched, dueMs: number): void {
    this.remove(watched);
    const bucket = Math.max(Math.ceil(Math.min(dueMs, this.#nowMs() + 86_400_000) / tickMs), this.#tick);
    const set = this.#buckets.get(bucket) ?? new Set();
    this.#buckets.set(bucket, set);
    set.add(watched);
    this.#places.set(watched, bucket);
  }

  #turn(): void {
    const nowMs = this.#nowMs();
    const lateMs = nowMs - this.#turnDueMs;
    this.#turnDueMs = nowMs + tickMs;
    if (lateMs >= stallMs) {
      this.#stalls = { count: this.#stalls.count + 1, totalMs: this.#stalls.totalMs + Math.round(lateMs) };
      this.#graceUntilMs = nowMs + graceMs;
    }
    const due: Watched[] = [];
    for (const tick = Math.floor(nowMs / tickMs); this.#tick <= tick; this.#tick++) {
      for (const watched of this.#buckets.get(this.#tick) ?? []) due.push(watched);
    }
    // Immediates run behind the reading of sockets.
    if (due.length > 0) setImmediate(() => this.#look(due));
  }

  #look(due: readonly Watched[]): void {
    const nowMs = this.#nowMs();
    for (const watched of due) {
      // Meanwhile it may have gone.
      if (!this.#places.has(watched)) continue;
      if (watched.dueMs > nowMs) this.add(watched);
      else if (nowMs < this.#graceUntilMs) this.#place(watched, this.#graceUntilMs);
      else {
        this.remove(watched);
        watched.expired();
      }
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
