/**
 * State of a task by key: the live value beside the bytes of its last completed invocation, to which a failed one is put back.
 * With a time to live the keys stand in a list from the least to the most recently committed, so that expiry costs what expires.
 */
import { HeadraceError, type StateDefinition } from "@headrace/sdk";
import { decodeValue, encodeValue } from "../value/codec.ts";

/** The bounds of a task's state unless its definition says otherwise. */
export const stateBytesPerKeyDefault = 64 * 1024;
export const stateBytesPerTaskDefault = 512 * 1024 * 1024;
/** A Map of Node 24 holds 16.7 million entries. */
const keysMax = 10_000_000;

export class Cell {
  readonly key: string;
  value: unknown;
  /** Bytes of the last completed invocation; undefined when the key has none yet. */
  bytes: Uint8Array | undefined;
  live = false;
  /** Batch that touched it last, so that it is listed once. */
  batch = 0;
  /** Changed since the last commit. */
  dirty = false;
  /** An asynchronous invocation of this key is under way. */
  busy = false;
  /** Time of the commit that changed it last, ms. */
  touchedMs = 0;
  older: Cell | undefined = undefined;
  newer: Cell | undefined = undefined;

  constructor(key: string, bytes?: Uint8Array) {
    this.key = key;
    this.bytes = bytes;
  }
}

export class KeyedState {
  readonly #cells = new Map<string, Cell>();
  readonly #initial: (() => unknown) | undefined;
  readonly #isRarelyRead: boolean;
  readonly #bytesPerKey: number;
  readonly #bytesPerTask: number;
  /** Undefined: keys stay. */
  readonly ttlMs: number | undefined;
  #oldest: Cell | undefined;
  #newest: Cell | undefined;
  #dirty: Cell[] = [];
  /** Bytes of all values as last encoded, and of their keys. */
  byteLength = 0;
  /** Bytes of the values that changed since the last commit, about. */
  dirtyBytes = 0;

  /** @param isRarelyRead a value is dropped once it is encoded, and made from its bytes when it is asked for again */
  constructor(initial: (() => unknown) | undefined, limits: StateDefinition = {}, isRarelyRead = false) {
    this.#isRarelyRead = isRarelyRead;
    this.#initial = initial;
    this.#bytesPerKey = limits.bytesPerKey ?? stateBytesPerKeyDefault;
    this.#bytesPerTask = limits.bytesPerTask ?? stateBytesPerTaskDefault;
    this.ttlMs = limits.ttlMs;
  }

  get size(): number {
    return this.#cells.size;
  }

  /** The key's cell with a live value. */
  open(key: string): Cell {
    let cell = this.#cells.get(key);
    if (!cell) {
      if (this.#cells.size >= keysMax)
        throw new HeadraceError("HR_STATE_FULL", `the state of a task holds at most ${keysMax} keys`);
      cell = new Cell(key);
      this.#cells.set(key, cell);
    }
    if (!cell.live) this.revive(cell);
    return cell;
  }

  /** Makes the value from the bytes, or anew. */
  revive(cell: Cell): void {
    cell.value = cell.bytes ? decodeValue(cell.bytes) : this.#initial?.();
    cell.live = true;
  }

  /** A new value for a key whose value was removed a moment ago, in the same batch. */
  renew(cell: Cell): void {
    cell.value = this.#initial?.();
  }

  /** Puts the key back to its last completed invocation; the value is made again when it is next needed. */
  restore(cell: Cell): void {
    cell.value = undefined;
    cell.live = false;
    if (!cell.bytes && !cell.dirty) this.#cells.delete(cell.key);
  }

  /** Takes the value as it is now as the key's new state. @throws HR_STATE_INVALID, HR_STATE_FULL, with nothing changed */
  complete(cell: Cell): void {
    const bytes = this.#encode(cell);
    this.#admit(growth(cell, bytes));
    this.#take(cell, bytes);
  }

  /** Completes all of them or, when one cannot be kept, none. @throws HR_STATE_INVALID, HR_STATE_FULL, with nothing changed */
  completeAll(cells: readonly Cell[]): void {
    const encoded: (Uint8Array | undefined)[] = [];
    let grown = 0;
    for (const cell of cells) {
      const bytes = this.#encode(cell);
      encoded.push(bytes);
      grown += growth(cell, bytes);
    }
    this.#admit(grown);
    for (let at = 0; at < cells.length; at++) this.#take(cells[at], encoded[at]);
  }

  /** The value's bytes; undefined removes the key. */
  #encode(cell: Cell): Uint8Array | undefined {
    return cell.value === undefined ? undefined : encodeValue(cell.value, this.#bytesPerKey);
  }

  /** What shrinks the state is always taken. */
  #admit(grown: number): void {
    if (grown <= 0 || this.byteLength + grown <= this.#bytesPerTask) return;
    throw new HeadraceError(
      "HR_STATE_FULL",
      `the state would grow to ${this.byteLength + grown} bytes, the limit of this task is ${this.#bytesPerTask}`,
      { data: { bytes: this.byteLength, bytesMax: this.#bytesPerTask } },
    );
  }

  #take(cell: Cell, bytes: Uint8Array | undefined): void {
    this.byteLength += growth(cell, bytes);
    cell.bytes = bytes;
    if (bytes) {
      this.#cells.set(cell.key, cell);
      // Kept once, as bytes: what waits for long is one object less, and whatever the value was a view of is free.
      if (this.#isRarelyRead) {
        cell.value = undefined;
        cell.live = false;
      }
    } else {
      // Removed: what comes next for this key starts anew, in a cell of its own.
      this.#cells.delete(cell.key);
      cell.live = false;
      this.#unlink(cell);
    }
    if (!cell.dirty) {
      cell.dirty = true;
      this.#dirty.push(cell);
      if (bytes) this.dirtyBytes += bytes.byteLength;
    }
  }

  /** Changed cells since the last call; `nowMs` is the time of the commit that takes them. */
  takeDirty(nowMs: number): Cell[] {
    const dirty = this.#dirty;
    this.#dirty = [];
    this.dirtyBytes = 0;
    for (const cell of dirty) {
      cell.dirty = false;
      if (this.ttlMs !== undefined && cell.bytes) this.#touch(cell, nowMs);
    }
    return dirty;
  }
  get hasDirty(): boolean {
    return this.#dirty.length > 0;
  }

  // Time to live.

  /** Time at which the key that was touched least recently expires. */
  get nextExpiryMs(): number | undefined {
    return this.#oldest && this.ttlMs !== undefined ? this.#oldest.touchedMs + this.ttlMs : undefined;
  }

  /** Whether the key's time was over before `atMs` and nothing has touched it since. */
  isExpired(cell: Cell, atMs: number): boolean {
    return this.ttlMs !== undefined && !cell.dirty && cell.bytes !== undefined && cell.touchedMs + this.ttlMs <= atMs;
  }

  /** Removes one key whose time is over; false when there is none. */
  expireNext(nowMs: number): boolean {
    const { ttlMs } = this;
    for (;;) {
      const cell = this.#oldest;
      if (!cell || ttlMs === undefined) return false;
      const isFuture = cell.touchedMs > nowMs;
      if (!isFuture && cell.touchedMs + ttlMs > nowMs) return false;
      // What waits for its commit, or for its handler, lives. A time that the clock has not reached comes from a clock that was wrong.
      if (isFuture || cell.dirty || cell.busy) {
        this.#touch(cell, nowMs);
        continue;
      }
      cell.value = undefined;
      this.#take(cell, undefined);
      return true;
    }
  }

  #touch(cell: Cell, nowMs: number): void {
    cell.touchedMs = nowMs;
    if (this.#newest === cell) return;
    this.#unlink(cell);
    cell.older = this.#newest;
    if (this.#newest) this.#newest.newer = cell;
    else this.#oldest = cell;
    this.#newest = cell;
  }
  #unlink(cell: Cell): void {
    if (cell.older) cell.older.newer = cell.newer;
    else if (this.#oldest === cell) this.#oldest = cell.newer;
    if (cell.newer) cell.newer.older = cell.older;
    else if (this.#newest === cell) this.#newest = cell.older;
    cell.older = undefined;
    cell.newer = undefined;
  }

  /** Loads a key from a commit or snapshot; `touchedMs` is the time of its commit. */
  load(key: string, bytes: Uint8Array | undefined, touchedMs = 0): void {
    let cell = this.#cells.get(key);
    if (!bytes) {
      if (!cell) return;
      this.byteLength += growth(cell, undefined);
      this.#unlink(cell);
      this.#cells.delete(key);
      return;
    }
    if (!cell) {
      cell = new Cell(key);
      this.#cells.set(key, cell);
    }
    this.byteLength += growth(cell, bytes);
    cell.bytes = bytes;
    cell.live = false;
    cell.value = undefined;
    if (this.ttlMs === undefined) cell.touchedMs = touchedMs;
    else this.#touch(cell, touchedMs);
  }

  /** Keys with their encoded values. */
  *entries(): Iterable<{ key: string; bytes: Uint8Array }> {
    for (const cell of this.#cells.values()) if (cell.bytes) yield { key: cell.key, bytes: cell.bytes };
  }

  /** The value of a key as last completed, for inspection. */
  peek(key: string): unknown {
    const bytes = this.#cells.get(key)?.bytes;
    return bytes ? decodeValue(bytes) : undefined;
  }
}

/** Bytes by which the state grows when the key's value becomes `bytes`. */
const growth = (cell: Cell, bytes: Uint8Array | undefined): number =>
  (bytes ? bytes.byteLength + cell.key.length : 0) - (cell.bytes ? cell.bytes.byteLength + cell.key.length : 0);
