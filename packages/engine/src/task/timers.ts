/** Timers of a task by key and name, with the earliest at hand: a binary heap whose removed entries are passed over. */
interface Entry {
  readonly key: string;
  readonly name: string;
  readonly dueMs: number;
  /** Order of setting: timers due at the same time fire in that order. */
  readonly order: number;
}

export class Timers {
  readonly #live = new Map<string, Entry>();
  #heap: Entry[] = [];
  #lastOrder = 0;

  static #id(key: string, name: string): string {
    return `${key.length}:${key}${name}`;
  }

  set(key: string, name: string, dueMs: number): void {
    const entry: Entry = { key, name, dueMs, order: ++this.#lastOrder };
    // Behind the others, so that `all` lists timers in the order of their setting, also for the recovery.
    this.#live.delete(Timers.#id(key, name));
    this.#live.set(Timers.#id(key, name), entry);
    this.#push(entry);
    // Timers that are moved again and again must not pile up.
    if (this.#heap.length > 64 && this.#heap.length > 4 * this.#live.size) this.#rebuild();
  }
  remove(key: string, name: string): void {
    this.#live.delete(Timers.#id(key, name));
  }
  get(key: string, name: string): number | undefined {
    return this.#live.get(Timers.#id(key, name))?.dueMs;
  }
  get size(): number {
    return this.#live.size;
  }

  /** When the earliest timer is due; undefined without timers. */
  get nextMs(): number | undefined {
    return this.#top()?.dueMs;
  }

  /** Removes and returns the earliest timer that is due at `nowMs`. */
  takeDue(nowMs: number): { key: string; name: string; dueMs: number } | undefined {
    const top = this.#top();
    if (!top || top.dueMs > nowMs) return undefined;
    this.#pop();
    this.#live.delete(Timers.#id(top.key, top.name));
    return top;
  }

  all(): { key: string; name: string; dueMs: number }[] {
    return [...this.#live.values()];
  }

  #top(): Entry | undefined {
    while (this.#heap.length > 0 && this.#live.get(Timers.#id(this.#heap[0].key, this.#heap[0].name)) !== this.#heap[0])
      this.#pop();
    return this.#heap[0];
  }
  #rebuild(): void {
    this.#heap = [];
    for (const entry of this.#live.values()) this.#push(entry);
  }
  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!before(entry, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = entry;
  }
  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
  }
}

const before = (a: Entry, b: Entry): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
