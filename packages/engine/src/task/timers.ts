/** Timers of a task by key and name, with the earliest at hand: a binary heap whose removed entries are passed over. */
interface Entry {
  readonly key: string;
  readonly name: string;
  readonly dueMs: number;
  /** Order of setting: timers due at the same time fire in that order. */
  readonly order: number;
  /** False once it was removed, moved or taken: the heap passes it over. */
  live: boolean;
  /** Another timer of the same key; most keys have one at most. */
  sibling: Entry | undefined;
}

export class Timers {
  readonly #byKey = new Map<string, Entry>();
  #heap: Entry[] = [];
  #lastOrder = 0;
  #size = 0;

  set(key: string, name: string, dueMs: number): void {
    this.remove(key, name);
    const sibling = this.#byKey.get(key);
    const entry: Entry = { key, name, dueMs, order: ++this.#lastOrder, live: true, sibling };
    this.#byKey.set(key, entry);
    this.#size++;
    this.#push(entry);
    // Timers that are moved again and again must not pile up.
    if (this.#heap.length > 64 && this.#heap.length > 4 * this.#size) this.#rebuild();
  }
  remove(key: string, name: string): void {
    let before: Entry | undefined;
    for (let entry = this.#byKey.get(key); entry; before = entry, entry = entry.sibling) {
      if (entry.name !== name) continue;
      if (before) before.sibling = entry.sibling;
      else if (entry.sibling) this.#byKey.set(key, entry.sibling);
      else this.#byKey.delete(key);
      entry.live = false;
      this.#size--;
      return;
    }
  }
  get(key: string, name: string): number | undefined {
    for (let entry = this.#byKey.get(key); entry; entry = entry.sibling) if (entry.name === name) return entry.dueMs;
    return undefined;
  }
  get size(): number {
    return this.#size;
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
    this.remove(top.key, top.name);
    return top;
  }

  /** All of them in the order of their setting, which the recovery keeps. */
  all(): { key: string; name: string; dueMs: number }[] {
    const entries: Entry[] = [];
    for (const first of this.#byKey.values())
      for (let entry: Entry | undefined = first; entry; entry = entry.sibling) entries.push(entry);
    return entries.sort((a, b) => a.order - b.order);
  }

  #top(): Entry | undefined {
    while (this.#heap.length > 0 && !this.#heap[0].live) this.#pop();
    return this.#heap[0];
  }
  #rebuild(): void {
    const live = this.#heap.filter((entry) => entry.live);
    this.#heap = [];
    for (const entry of live) this.#push(entry);
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
