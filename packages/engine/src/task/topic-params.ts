/** Parameters of a topic by the patterns of its stream: `plants/:plant/pumps/:device`. */
import type { SourceDefinition } from "@headrace/sdk";

/** The parameters when `topic` matches `pattern`, else undefined. `+` is one level, a last `#` any number of them. */
export const matchPattern = (pattern: string, topic: string): Record<string, string> | undefined => {
  const levels = pattern.split("/");
  const parts = topic.split("/");
  const params: Record<string, string> = Object.create(null);
  for (let index = 0; index < levels.length; index++) {
    const level = levels[index];
    if (level === "#" && index === levels.length - 1) return params;
    if (index >= parts.length) return undefined;
    if (level.startsWith(":")) {
      if (parts[index] === "") return undefined;
      params[level.slice(1)] = parts[index];
    } else if (level !== "+" && level !== parts[index]) return undefined;
  }
  return levels.length === parts.length ? params : undefined;
};

/** Parameters by the first source that matches; empty for a derived event. */
export const topicParams = (sources: readonly SourceDefinition[], topic: string): Readonly<Record<string, string>> => {
  for (const source of sources) {
    const params = matchPattern(source.pattern, topic);
    if (params) return params;
  }
  return noParams;
};

/** Topics that are remembered; beyond this all are forgotten. */
const topicsMax = 10_000;

/** As {@link topicParams} with its answers kept: a device publishes on the same topics again and again. Frozen, because many events share them. */
export class TopicParams {
  readonly #sources: readonly SourceDefinition[];
  readonly #known = new Map<string, Readonly<Record<string, string>>>();

  constructor(sources: readonly SourceDefinition[]) {
    this.#sources = sources;
  }

  of(topic: string): Readonly<Record<string, string>> {
    let params = this.#known.get(topic);
    if (params === undefined) {
      params = Object.freeze(topicParams(this.#sources, topic));
      if (this.#known.size >= topicsMax) this.#known.clear();
      this.#known.set(topic, params);
    }
    return params;
  }
}

const noParams: Readonly<Record<string, string>> = Object.freeze(Object.create(null));
