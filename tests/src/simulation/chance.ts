/** The one source of randomness of a seed. */
export class Chance {
  readonly random: () => number;

  constructor(random: () => number) {
    this.random = random;
  }

  of(probability: number): boolean {
    return this.random() < probability;
  }
  /** A whole number from 0 up to `count`, without it. */
  below(count: number): number {
    return Math.floor(this.random() * count);
  }
  /** A number from 0 to `max`. */
  upTo(max: number): number {
    return this.random() * max;
  }
  /** From `min` to `max`, both possible. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }
  one<Value>(values: readonly Value[]): Value {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error("nothing to choose from");
    return value;
  }
}
