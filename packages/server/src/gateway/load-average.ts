/** Rates per minute over the last 1, 5 and 15 minutes, as the load averages of a system are made. */

const windowsMinutes = [1, 5, 15] as const;
const minuteMs = 60_000;

export type Load = Readonly<Record<`${(typeof windowsMinutes)[number]}min`, number>>;

export class LoadAverage {
  #averages: number[] | undefined;
  #total = 0;
  #atMs = 0;

  /**
   * Takes the total of a counter that began at 0 `uptimeMs` ago. The first time the averages are those of the whole time; later
   * they move towards the rate since the call before, whenever that was.
   */
  update(total: number, uptimeMs: number): Load {
    const elapsedMs = uptimeMs - this.#atMs;
    if (elapsedMs > 0) {
      const rate = ((total - this.#total) / elapsedMs) * minuteMs;
      const before = this.#averages ?? windowsMinutes.map(() => rate);
      this.#averages = windowsMinutes.map((minutes, index) => {
        const kept = Math.exp(-elapsedMs / (minutes * minuteMs));
        return rate + kept * ((before[index] ?? rate) - rate);
      });
      this.#total = total;
      this.#atMs = uptimeMs;
    }
    const [one = 0, five = 0, fifteen = 0] = this.#averages ?? [];
    return { "1min": one, "5min": five, "15min": fifteen };
  }
}
