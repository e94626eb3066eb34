/** A stream's source pattern: literal levels, `:name`, `+`, and `#` at the end. */

export interface TopicPattern {
  readonly levels: readonly string[];
  readonly multi: boolean;
}

export const compilePattern = (pattern: string): TopicPattern => {
  const levels = pattern.split("/");
  const multi = levels.at(-1) === "#";
  if (multi) levels.pop();
  return { levels, multi };
};

/** The parameters of a topic that matches; undefined when it does not. As in MQTT, `#` matches the level above it and no wildcard matches a `$` topic. */
export const matchPattern = (
  pattern: TopicPattern,
  topicLevels: readonly string[],
): Record<string, string> | undefined => {
  const { levels, multi } = pattern;
  if (topicLevels.length < levels.length || (!multi && topicLevels.length > levels.length)) return undefined;
  if (topicLevels[0].startsWith("$") && topicLevels[0] !== levels[0]) return undefined;
  const params: Record<string, string> = {};
  for (const [index, level] of levels.entries()) {
    const value = topicLevels[index];
    if (level.startsWith(":")) params[level.slice(1)] = value;
    else if (level !== "+" && level !== value) return undefined;
  }
  return params;
};
