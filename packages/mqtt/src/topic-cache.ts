import { decodeUtf8 } from "./bytes.ts";
import { reasonCodes } from "./errors.ts";
import { defaultTopicLimits, type TopicLimits, validateTopic } from "./topic.ts";

export interface TopicCacheOptions {
  /** Most topics kept; the cache is emptied when it is full. Default 65,536. */
  readonly entriesMax?: number;
  /** Most bytes of topic names kept. Default 16 MiB. */
  readonly bytesMax?: number;
  readonly limits?: TopicLimits;
}

/**
 * Maps the bytes of a topic name to what the caller computed for it, so that a repeated topic is neither validated nor
 * turned into routing decisions again. Shared by all connections of a thread; each has a {@link TopicMemo} in front.
 */
export class TopicCache<T> {
  readonly #resolve: (topic: string) => T;
  readonly #entriesMax: number;
  readonly #bytesMax: number;
  readonly #limits: TopicLimits;
  readonly #entries = new Map<string, T>();
  #bytes = 0;
  #generation = 0;

  /** @param resolve computes the value of a valid topic; what it throws reaches the caller of `lookup` and is not kept */
  constructor(resolve: (topic: string) => T, options: TopicCacheOptions = {}) {
    this.#resolve = resolve;
    this.#entriesMax = options.entriesMax ?? 65_536;
    this.#bytesMax = options.bytesMax ?? 16 * 1024 * 1024;
    this.#limits = options.limits ?? defaultTopicLimits;
  }

  /** Changes whenever values may be stale; memos compare it. */
  get generation(): number {
    return this.#generation;
  }

  get size(): number {
    return this.#entries.size;
  }

  /**
   * The value of the topic name in `buffer[start, end)`.
   *
   * @throws MqttError 0x90 when the name is not a valid topic (see `validateTopic`); scope `"message"` for `$` topics
   */
  lookup(buffer: Buffer, start: number, end: number): T {
    // Latin-1 maps bytes to characters one to one, so it is an exact key and much cheaper than decoding UTF-8.
    const key = buffer.toString("latin1", start, end);
    const found = this.#entries.get(key);
    if (found !== undefined) return found;
    const topic = decodeUtf8(buffer, start, end, reasonCodes.topicNameInvalid);
    validateTopic(topic, this.#limits);
    const value = this.#resolve(topic);
    if (this.#entries.size >= this.#entriesMax || this.#bytes + key.length > this.#bytesMax) this.#empty();
    this.#entries.set(key, value);
    this.#bytes += key.length;
    return value;
  }

  /** Forgets everything, here and in the memos: call it when policies, streams or subscriptions change. */
  clear(): void {
    this.#empty();
    this.#generation += 1;
  }

  #empty(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }
}

/** The last topic of one connection: most devices publish to one topic, which is then found by comparing bytes. */
export class TopicMemo<T> {
  readonly #cache: TopicCache<T>;
  #last = new Uint8Array(0);
  #length = -1;
  #value: T | undefined;
  #generation = -1;

  constructor(cache: TopicCache<T>) {
    this.#cache = cache;
  }

  /** As {@link TopicCache.lookup}. */
  lookup(buffer: Buffer, start: number, end: number): T {
    const length = end - start;
    if (length === this.#length && this.#generation === this.#cache.generation) {
      const last = this.#last;
      let index = 0;
      while (index < length && last[index] === buffer[start + index]) index += 1;
      if (index === length) return this.#value as T;
    }
    const value = this.#cache.lookup(buffer, start, end);
    if (length > this.#last.length) this.#last = new Uint8Array(length);
    for (let index = 0; index < length; index += 1) this.#last[index] = buffer[start + index] as number;
    this.#length = length;
    this.#value = value;
    this.#generation = this.#cache.generation;
    return value;
  }
}
