/** Where a stream's events come from; the pattern's `:name` levels become typed parameters. */
import type { SourceDefinition } from "./definition.ts";
import { invalid } from "./invalid.ts";

type ParameterName<Pattern extends string> = string extends Pattern
  ? string
  : Pattern extends `${infer Level}/${infer Rest}`
    ? ParameterName<Level> | ParameterName<Rest>
    : Pattern extends `:${infer Name}`
      ? Name
      : never;

/** The parameters of a pattern: `"plants/:plant/pumps/:device"` has `plant` and `device`, each a string. */
export type ParametersOf<Pattern extends string> = { readonly [Name in ParameterName<Pattern>]: string };

/** A source with the type of its parameters. */
export interface Source<Params = unknown> extends SourceDefinition {
  /** Type only: never present. */
  readonly "~params"?: Params;
}

type AnyKey<Union> = Union extends unknown ? keyof Union : never;
type Merge<Union> = { readonly [Name in keyof Union]: string } & {
  readonly [Name in Exclude<AnyKey<Union>, keyof Union>]?: string;
};
type ParamsOf<One> = One extends Source<infer Params> ? Params : never;

/** Parameters of one source or of several; a parameter that not every source has may be undefined. */
export type SourceParams<From> = From extends readonly (infer One)[]
  ? Merge<ParamsOf<One>>
  : From extends Source<infer Params>
    ? Params
    : Record<never, string>;

function checkPattern(pattern: string): void {
  const names = new Set<string>();
  const levels = pattern.split("/");
  for (const [index, level] of levels.entries()) {
    const wildcard = level === "+" || (level === "#" && index === levels.length - 1);
    const name = /^:([A-Za-z_]\w*)$/.exec(level)?.[1];
    if (name !== undefined ? names.has(name) : !wildcard && /^:|[+#\0]/.test(level)) {
      throw invalid(
        `pattern ${JSON.stringify(pattern)}, level ${JSON.stringify(level)}: ` +
          "a level is text, a new :name, + for one level, or # at the end",
      );
    }
    if (name !== undefined) names.add(name);
  }
  if (pattern === "") throw invalid('pattern "": name at least one level');
}

/**
 * Events that devices publish over MQTT on topics that match `pattern`: literal levels, `:name` parameters, `+`, and `#` at the end.
 * The parameter `device` names the device; without it the device is the authenticated identity, else the client id.
 *
 * @throws HeadraceError `HR_APP_INVALID` for a pattern that is no topic filter.
 * @example
 * ```ts
 * mqtt("plants/:plant/pumps/:device"); // => { kind: "mqtt", pattern: "plants/:plant/pumps/:device" }
 * ```
 */
export function mqtt<const Pattern extends string>(pattern: Pattern): Source<ParametersOf<Pattern>> {
  checkPattern(pattern);
  return { kind: "mqtt", pattern };
}

/**
 * Events posted over HTTP for topics that match `pattern`, written as for {@link mqtt}; a leading slash is dropped.
 *
 * @throws HeadraceError `HR_APP_INVALID` for a pattern that is no topic filter.
 * @example
 * ```ts
 * http("/meters/:device"); // => { kind: "http", pattern: "meters/:device" }
 * ```
 */
export function http<const Pattern extends string>(pattern: Pattern): Source<ParametersOf<Pattern>> {
  const topicPattern = pattern.replace(/^\//, "");
  checkPattern(topicPattern);
  return { kind: "http", pattern: topicPattern };
}
