/** State of a task by key: the live value beside the bytes of its last completed invocation, to which a failed one is put back. */
import { decodeValue, encodeValue } from "../value/codec.ts";

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

  constructor(key: string, bytes?: Uint8Array) {
    this.key = key;
    this.bytes = bytes;
  }
}

export class KeyedState {
  readonly #cells = new Map<string, Cell>();
  readonly #initial: (() => unknown) | undefined;
  #dirty: Cell[] = [];
  /** Bytes of all values as last encoded. */
  byteLength = 0;

  constructor(initial: (() => unknown) | undefined) {
    this.#initial = initial;
  }

  get size(): number {
    return this.#cells.size;
  }

  /** The key's cell with a live value. */
  open(key: string): Cell {
    let cell = this.#cells.get(key);
    if (!cell) {
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

  /** Takes the value as it is now as the key's new state. @throws HR_STATE_INVALID, with nothing changed */
  complete(cell: Cell): void {
    this.#take(cell, encodeLive(cell));
  }

  /** Completes all of them or, when one cannot be kept, none. @throws HR_STATE_INVALID, with nothing changed */
  completeAll(cells: readonly Cell[]): void {
    const encoded = cells.map(encodeLive);
    for (const [index, cell] of cells.entries()) this.#take(cell, encoded[index]);
  }

  #take(cell: Cell, bytes: Uint8Array | undefined): void {
    this.byteLength += (bytes?.byteLength ?? 0) - (cell.bytes?.byteLength ?? 0);
    cell.bytes = bytes;
    if (bytes) this.#cells.set(cell.key, cell);
    else {
      // Removed: what comes next for this key starts anew, in a cell of its own.
      this.#cells.delete(cell.key);
      cell.live = false;
    }
    if (!cell.dirty) {
      cell.dirty = true;
      this.#dirty.push(cell);
    }
  }

  /** Changed cells since the last call. */
  takeDirty(): Cell[] {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const cell of dirty) cell.dirty = false;
    return dirty;
  }
  get hasDirty(): boolean {
    return this.#dirty.length > 0;
  }

  /** Loads a key from a commit or snapshot. */
  load(key: string, bytes: Uint8Array | undefined): void {
    const known = this.#cells.get(key);
    this.byteLength += (bytes?.byteLength ?? 0) - (known?.bytes?.byteLength ?? 0);
    if (bytes) this.#cells.set(key, new Cell(key, bytes));
    else this.#cells.delete(key);
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

/** The value's bytes; undefined removes the key. */
const encodeLive = (cell: Cell): Uint8Array | undefined =>
  cell.value === undefined ? undefined : encodeValue(cell.value);
