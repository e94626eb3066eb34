/**
 * The event loop of a simulated process: while it is installed, timers, immediates and clocks of this thread are virtual. Code under test needs no
 * switch for it, and what asks the machine for time by mistake is caught as well. Promises stay the machine's own: they are deterministic by themselves.
 *
 * Two kinds of owners: the process, whose timers end with it, and the world around it, which schedules by {@link VirtualLoop.at}.
 */

interface Entry {
  dueMs: number;
  readonly order: number;
  /** 0: the world; else the process that it belongs to. */
  readonly owner: number;
  readonly run: () => void;
  readonly everyMs: number | undefined;
  isCancelled: boolean;
}

/** What setTimeout and setInterval return, as far as the code asks for it. */
class Timer {
  readonly entry: Entry;
  constructor(entry: Entry) {
    this.entry = entry;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  hasRef(): boolean {
    return true;
  }
}

const real = {
  setImmediate: globalThis.setImmediate,
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  clearImmediate: globalThis.clearImmediate,
  dateNow: Date.now,
  emitWarning: process.emitWarning,
};

/** What one macrotask takes. */
const turnMs = 0.002;

export interface LoopOptions {
  /** What the wall clock shows at the beginning, ms since the epoch. */
  readonly startMs: number;
  /** Takes what the process warns of. */
  readonly onWarning: (text: string) => void;
}

export class VirtualLoop implements Disposable {
  readonly #options: LoopOptions;
  readonly #heap: Entry[] = [];
  #immediates: Entry[] = [];
  /** Immediates of this round that are left; what they ask for comes in the next one, behind the timers that are due. */
  #left = 0;
  #order = 0;
  #owner = 1;
  #nowMs = 0;
  #isRunning = false;
  /** Macrotasks so far. */
  turns = 0;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Monotonic, from 0. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Time passes while the process does nothing else: a slow disk. */
  pass(ms: number): void {
    this.#nowMs += ms;
  }

  /** Takes over this thread until it is disposed of. */
  install(): this {
    const { startMs, onWarning } = this.#options;
    const later = (run: (...args: unknown[]) => void, ms: number | undefined, isRepeated: boolean, args: unknown[]) => {
      const pauseMs = Math.max(1, ms ?? 1);
      const call = args.length > 0 ? () => run(...args) : (run as () => void);
      return new Timer(this.#schedule(this.#owner, this.#nowMs + pauseMs, call, isRepeated ? pauseMs : undefined));
    };
    const cancel = (timer: unknown): void => {
      if (timer instanceof Timer) timer.entry.isCancelled = true;
    };
    Object.assign(globalThis, {
      setTimeout: (run: () => void, ms?: number, ...args: unknown[]) => later(run, ms, false, args),
      setInterval: (run: () => void, ms?: number, ...args: unknown[]) => later(run, ms, true, args),
      setImmediate: (run: (...args: unknown[]) => void, ...args: unknown[]) => {
        const entry = this.#entry(this.#owner, 0, () => run(...args), undefined);
        this.#immediates.push(entry);
        return new Timer(entry);
      },
      clearTimeout: cancel,
      clearInterval: cancel,
      clearImmediate: cancel,
    });
    Date.now = () => startMs + Math.floor(this.#nowMs);
    performance.now = () => this.#nowMs;
    process.emitWarning = (warning: string | Error) => onWarning(String(warning));
    return this;
  }

  [Symbol.dispose](): void {
    const { dateNow, emitWarning, ...timers } = real;
    Object.assign(globalThis, timers);
    Date.now = dateNow;
    process.emitWarning = emitWarning;
    // The method of the prototype shows again.
    Reflect.deleteProperty(performance, "now");
  }

  #entry(owner: number, dueMs: number, run: () => void, everyMs: number | undefined): Entry {
    return { dueMs, order: this.#order++, owner, run, everyMs, isCancelled: false };
  }

  #schedule(owner: number, dueMs: number, run: () => void, everyMs?: number): Entry {
    const entry = this.#entry(owner, dueMs, run, everyMs);
    this.#push(entry);
    return entry;
  }

  /** The world does something in `ms`; returns the cancellation. */
  after(ms: number, run: () => void): () => void {
    const entry = this.#schedule(0, this.#nowMs + ms, run);
    return () => {
      entry.isCancelled = true;
    };
  }

  /** The process has ended: nothing that it asked for happens any more, and what asks next is another one. */
  endProcess(): void {
    this.#owner += 1;
  }

  /** Lets everything happen until `isDone`. @throws when nothing is left to happen, or when it takes longer than `patienceMs` of virtual time */
  run(isDone: () => boolean, patienceMs: number): Promise<void> {
    if (this.#isRunning) throw new Error("the loop is running");
    this.#isRunning = true;
    const endMs = this.#nowMs + patienceMs;
    return new Promise<void>((resolve, reject) => {
      const step = (): void => {
        try {
          if (isDone()) resolve();
          else if (this.#nowMs > endMs) reject(new Error(`it is not done after ${patienceMs} ms of virtual time`));
          else if (this.#turn()) real.setImmediate(step);
          else reject(new Error("nothing is left to happen"));
        } catch (error) {
          reject(error);
        }
      };
      // Each turn is a macrotask of the machine, so that what follows from it by promises happens before the next.
      real.setImmediate(step);
    }).finally(() => {
      this.#isRunning = false;
    });
  }

  /** Lets what follows by promises happen, and nothing else. */
  settle(): Promise<void> {
    return new Promise((resolve) => real.setImmediate(() => real.setImmediate(() => resolve())));
  }

  /** One macrotask; false when there is none. */
  #turn(): boolean {
    for (;;) {
      const entry = this.#next();
      if (!entry) return false;
      if (entry.isCancelled || (entry.owner !== 0 && entry.owner !== this.#owner)) continue;
      this.#nowMs += turnMs;
      this.turns += 1;
      if (entry.everyMs !== undefined) {
        entry.dueMs = this.#nowMs + entry.everyMs;
        this.#push(entry);
      }
      entry.run();
      return true;
    }
  }

  #next(): Entry | undefined {
    const [timer] = this.#heap;
    const isDue = timer !== undefined && timer.dueMs <= this.#nowMs;
    if (this.#left === 0 && isDue) return this.#pop();
    if (this.#left === 0) this.#left = this.#immediates.length;
    if (this.#left > 0) {
      this.#left -= 1;
      return this.#immediates.shift();
    }
    if (timer === undefined) return undefined;
    this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
    return this.#pop();
  }

  // A heap by due time, then by order.

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

const isBefore = (a: Entry, b: Entry): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
