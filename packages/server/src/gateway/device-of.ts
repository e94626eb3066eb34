import type { EventBlockReader } from "@headrace/engine";
import type { StreamDefinition } from "@headrace/sdk";
import { compilePattern, matchPattern, type TopicPattern } from "./topic-pattern.ts";

const cachedMax = 100_000;

/** Which device a stored event came from: as intake decides it, but from the envelope. */
export class DeviceOf {
  readonly #patterns: readonly TopicPattern[];
  readonly #isKeyed: boolean;
  readonly #cache = new Map<string, string | undefined>();

  constructor(stream: Pick<StreamDefinition, "sources" | "key">) {
    this.#patterns = stream.sources
      .map(({ pattern }) => compilePattern(pattern))
      .filter(({ levels }) => levels.includes(":device"));
    this.#isKeyed = stream.key !== undefined;
  }

  of(event: EventBlockReader): string {
    const { topic } = event;
    if (!this.#cache.has(topic)) {
      if (this.#cache.size >= cachedMax) this.#cache.clear();
      const levels = topic.split("/");
      const devices = this.#patterns.map((pattern) => matchPattern(pattern, levels)?.device);
      this.#cache.set(
        topic,
        devices.find((device) => device !== undefined),
      );
    }
    return this.#cache.get(topic) ?? (this.#isKeyed ? event.client : event.key);
  }
}
