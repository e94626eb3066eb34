import { reasonCodes } from "./errors.ts";
import type { PublishView } from "./publish-view.ts";

/** Topic aliases that a client has set on its connection, MQTT 5.0 §3.3.2.3.4. */
export class InboundAliases {
  /** The topic of the PUBLISH last taken when it came as an alias alone; else undefined. */
  topic: Buffer | undefined;
  readonly #max: number;
  readonly #topics: Buffer[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** Sets or resolves the alias of a PUBLISH: 0, or the reason code of an error. */
  take(view: PublishView, alias: number): number {
    this.topic = undefined;
    if (alias > this.#max) return reasonCodes.topicAliasInvalid;
    if (view.topicStart !== view.topicEnd) {
      this.#topics[alias] = Buffer.from(view.buffer.subarray(view.topicStart, view.topicEnd));
      return 0;
    }
    this.topic = this.#topics[alias];
    return this.topic === undefined ? reasonCodes.topicAliasInvalid : 0;
  }
}
