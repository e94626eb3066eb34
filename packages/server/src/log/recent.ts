/** A bounded memory of what was used last: the oldest goes when there is too much. */
export class Recent<Value> {
  readonly #values = new Map<string, Value>();
  readonly #max: number;
  readonly #sizeOf: (value: Value) => number;
  readonly #drop: (value: Value) => void;
  #size = 0;

  /** @param max sum of sizes; the value used last stays, however large it is */
  constructor(max: number, sizeOf: (value: Value) => number, drop: (value: Value) => void = () => undefined) {
    this.#max = max;
    this.#sizeOf = sizeOf;
    this.#drop = drop;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string, make: () => Value): Value {
    let value = this.#values.get(key);
    if (value !== undefined) {
      this.#values.delete(key);
      this.#values.set(key, value);
      return value;
    }
    value = make();
    this.#values.set(key, value);
    this.#size += this.#sizeOf(value);
    for (const oldest of this.#values.keys()) {
      if (this.#size <= this.#max || oldest === key) break;
      this.delete(oldest);
    }
    return value;
  }

  delete(key: string): void {
    const value = this.#values.get(key);
    if (value === undefined) return;
    this.#values.delete(key);
    this.#size -= this.#sizeOf(value);
    this.#drop(value);
  }

  clear(): void {
    for (const key of [...this.#values.keys()]) this.delete(key);
  }
}
