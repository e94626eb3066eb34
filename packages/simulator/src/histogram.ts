/**
 * Latencies in buckets of fixed relative width, after HdrHistogram: 32 buckets per power of two, so a percentile is
 * at most 3.2 % too high, recording allocates nothing, and histograms of several processes add up.
 */
const bucketsPerOctave = 32;
/** 2^32 µs is 72 minutes; what is longer counts as that. */
const octaves = 28;

function bucketOf(us: number): number {
  if (us < bucketsPerOctave) return us;
  const octave = 31 - Math.clz32(us) - 5;
  return (octave + 1) * bucketsPerOctave + ((us >>> octave) - bucketsPerOctave);
}

/** The largest value, in µs, that falls into the bucket. */
function upperOf(bucket: number): number {
  if (bucket < bucketsPerOctave) return bucket;
  const octave = Math.floor(bucket / bucketsPerOctave) - 1;
  return ((bucket % bucketsPerOctave) + bucketsPerOctave + 1) * 2 ** octave - 1;
}

/**
 * Counts latencies and answers percentiles.
 *
 * @example
 * ```ts
 * const latency = new LatencyHistogram();
 * for (let ms = 1; ms <= 100; ms += 1) latency.record(ms);
 * latency.percentile(50); // 50 or up to 3.2 % more
 * ```
 */
export class LatencyHistogram {
  readonly #counts = new Float64Array((octaves + 1) * bucketsPerOctave);
  #count = 0;
  #maximumMs = 0;

  get count(): number {
    return this.#count;
  }

  /** The longest latency recorded, in ms; 0 when there is none. */
  get maximumMs(): number {
    return this.#maximumMs;
  }

  /** Records one latency in ms; negative ones count as 0. */
  record(ms: number): void {
    const us = ms <= 0 ? 0 : Math.min(Math.round(ms * 1000), 0xffff_ffff);
    this.#counts[bucketOf(us)]! += 1;
    this.#count += 1;
    if (ms > this.#maximumMs) this.#maximumMs = ms;
  }

  /** The latency in ms that `percent` of the records do not exceed; 0 when there are none. */
  percentile(percent: number): number {
    const wanted = Math.max(1, Math.ceil((this.#count * percent) / 100));
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket += 1) {
      seen += this.#counts[bucket]!;
      if (seen >= wanted) return Math.min(upperOf(bucket) / 1000, this.#maximumMs);
    }
    return 0;
  }

  /** Adds what the other one counted. */
  add(other: LatencyHistogram): void {
    for (let bucket = 0; bucket < this.#counts.length; bucket += 1) this.#counts[bucket]! += other.#counts[bucket]!;
    this.#count += other.#count;
    this.#maximumMs = Math.max(this.#maximumMs, other.#maximumMs);
  }

  /** Forgets everything. */
  reset(): void {
    this.#counts.fill(0);
    this.#count = 0;
    this.#maximumMs = 0;
  }
}
