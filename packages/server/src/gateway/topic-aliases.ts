/** Topic aliases towards one client (MQTT 5.0 §3.3.2.3.4): the first topics that it gets have one. */

/** More would cost memory for each connection and save little. */
const aliasesMax = 64;

export class TopicAliases {
  readonly #byTopic = new Map<string, number>();
  readonly #max: number;

  private constructor(max: number) {
    this.#max = max;
  }

  /** Undefined for a client that takes none. */
  static for(maximum: number): TopicAliases | undefined {
    return maximum === 0 ? undefined : new TopicAliases(Math.min(maximum, aliasesMax));
  }

  /** 0 for none; n: this packet sets alias n; -n: this packet uses alias n. */
  of(topic: string): number {
    const known = this.#byTopic.get(topic);
    if (known !== undefined) return -known;
    if (this.#byTopic.size >= this.#max) return 0;
    const alias = this.#byTopic.size + 1;
    this.#byTopic.set(topic, alias);
    return alias;
  }
}
