import { MqttError, reasonCodes } from "./errors.ts";

/** Bounds on topic names and filters, below the 65,535 bytes of the specification so that matching has a bounded cost. */
export interface TopicLimits {
  /** Longest name or filter, in UTF-8 bytes. Default 4,096. */
  readonly bytesMax: number;
  /** Most levels (parts between slashes). Default 64. */
  readonly levelsMax: number;
}

export const defaultTopicLimits: TopicLimits = { bytesMax: 4_096, levelsMax: 64 };

/**
 * Checks a topic name that a client publishes to (MQTT 5.0 §4.7): at least one character, no wildcard, no U+0000,
 * within the limits, and not one of the `$` topics, which belong to the server (§4.7.2).
 *
 * @throws MqttError 0x90; for a `$` topic with scope `"message"`
 */
export function validateTopic(topic: string, limits: TopicLimits = defaultTopicLimits): void {
  if (topic.length === 0) throw invalidTopic("is empty");
  if (/[+#\0]/.test(topic)) throw invalidTopic("contains a wildcard or U+0000");
  const problem = limitProblem(topic, limits);
  if (problem !== undefined) throw invalidTopic(problem);
  if (topic.charCodeAt(0) === 0x24) {
    throw new MqttError(reasonCodes.topicNameInvalid, "topics that begin with $ belong to the server", "message");
  }
}

/**
 * Checks a topic filter (MQTT 5.0 §4.7.1): `+` alone in its level, `#` alone in the last level, no U+0000, within the
 * limits. A filter of a shared subscription is checked for its form; {@link isSharedFilter} tells.
 *
 * @throws MqttError 0x8F
 */
export function validateFilter(filter: string, limits: TopicLimits = defaultTopicLimits): void {
  if (filter.length === 0) throw invalidFilter("is empty");
  if (filter.includes("\0")) throw invalidFilter("contains U+0000");
  const problem = limitProblem(filter, limits);
  if (problem !== undefined) throw invalidFilter(problem);
  const levels = filter.split("/");
  for (const [index, level] of levels.entries()) {
    if (level.length > 1 && /[+#]/.test(level)) throw invalidFilter("has a wildcard inside a level");
    if (level === "#" && index !== levels.length - 1) throw invalidFilter("has # before the last level");
  }
  if (isSharedFilter(filter)) {
    // §4.8.2: $share/{ShareName}/{filter}, both of at least one character, no wildcard in the name.
    const name = levels[1] ?? "";
    if (name === "" || name === "+" || name === "#" || levels.length < 3 || levels.slice(2).join("/") === "") {
      throw invalidFilter("is not $share/{name}/{filter}");
    }
  }
}

/** Whether a filter names a shared subscription (§4.8.2); `$SHARE` is treated alike, so that it cannot slip past. */
export function isSharedFilter(filter: string): boolean {
  return /^\$share(\/|$)/i.test(filter);
}

/** Name and filter of a valid shared subscription, `$share/{name}/{filter}`; undefined for any other filter (§4.8.2). */
export function splitSharedFilter(filter: string): { readonly group: string; readonly filter: string } | undefined {
  if (!isSharedFilter(filter)) return undefined;
  const nameEnd = filter.indexOf("/", 7);
  return { group: filter.slice(7, nameEnd), filter: filter.slice(nameEnd + 1) };
}

/**
 * Whether a valid filter matches a valid topic name (MQTT 5.0 §4.7): `#` matches the parent level too, and a filter
 * that begins with a wildcard does not match a topic that begins with `$` (§4.7.2).
 */
export function matchesFilter(filter: string, topic: string): boolean {
  const first = filter.charCodeAt(0);
  if (topic.charCodeAt(0) === 0x24 && (first === 0x2b || first === 0x23)) return false;
  let filterAt = 0;
  let topicAt = 0;
  for (;;) {
    const filterEnd = levelEnd(filter, filterAt);
    if (filter.charCodeAt(filterAt) === 0x23 && filterEnd === filterAt + 1) return true;
    const topicEnd = levelEnd(topic, topicAt);
    const single = filter.charCodeAt(filterAt) === 0x2b && filterEnd === filterAt + 1;
    if (!single) {
      const length = filterEnd - filterAt;
      if (length !== topicEnd - topicAt || !topic.startsWith(filter.slice(filterAt, filterEnd), topicAt)) return false;
    }
    if (topicEnd === topic.length) {
      // The topic is at its end: so must the filter be, or one `#` below it.
      return filterEnd === filter.length || (filter.length === filterEnd + 2 && filter.endsWith("/#"));
    }
    if (filterEnd === filter.length) return false;
    filterAt = filterEnd + 1;
    topicAt = topicEnd + 1;
  }
}

function levelEnd(text: string, from: number): number {
  const slash = text.indexOf("/", from);
  return slash === -1 ? text.length : slash;
}

function limitProblem(text: string, limits: TopicLimits): string | undefined {
  // Three bytes per UTF-16 unit is the most that UTF-8 needs, so most topics pass without being encoded.
  if (text.length * 3 > limits.bytesMax && new TextEncoder().encode(text).length > limits.bytesMax) {
    return `is longer than ${limits.bytesMax} bytes`;
  }
  let levels = 1;
  for (let at = text.indexOf("/"); at !== -1; at = text.indexOf("/", at + 1)) levels += 1;
  return levels > limits.levelsMax ? `has more than ${limits.levelsMax} levels` : undefined;
}

function invalidTopic(problem: string): MqttError {
  return new MqttError(reasonCodes.topicNameInvalid, `a topic name ${problem}`);
}

function invalidFilter(problem: string): MqttError {
  return new MqttError(reasonCodes.topicFilterInvalid, `a topic filter ${problem}`);
}
