/** Rules about the text of single files: what may not stand in it, and how long it may be. */
import type { SourceFile } from "./repository.ts";

interface Rule {
  readonly name: string;
  readonly appliesTo: (path: string) => boolean;
  /** Places where the rule is broken, each as `line: why`. */
  readonly check: (text: string) => string[];
}

/** A module that needs more lines hides a second one; the aim is 50 to 200. */
const maximumLines = 500;

// Assembled from halves, so that this file does not break its own rule.
const unfinished = new RegExp(`\\b(TO${"DO"}|FIX${"ME"}|X${"XX"})\\b`);
const narrowed = /\b(test|it|describe)(\.[a-z]+)*\.(only|skip)\(/;
const silenced = new RegExp(`@ts-(${"ignore"}|${"nocheck"})`);

const machinePath = /["'`]\/(home|root|Users|work)\//;

/** Biome's noRestrictedGlobals sees `Date` and `setTimeout`, but neither of these spellings. */
const ambient =
  /\bMath\.random\(|\bglobalThis\.(Date|setTimeout|setInterval|performance|crypto)\b|\bDate\.now\(|\bnew Date\(\)/;

const isTypeScript = (path: string): boolean => /\.(ts|cts|mts|js|mjs|cjs)$/.test(path);
const isShipped = (path: string): boolean => /^packages\/[^/]+\/src\/.*\.ts$/.test(path) && !path.endsWith(".test.ts");

export const textRules: readonly Rule[] = [
  {
    name: "no unfinished work in the text",
    appliesTo: (path) => isTypeScript(path) || path.endsWith(".md"),
    check: (text) => linesMatching(text, unfinished),
  },
  {
    name: "no test is left out or alone",
    appliesTo: isTypeScript,
    check: (text) => linesMatching(text, narrowed),
  },
  {
    name: "no type error is silenced",
    appliesTo: isTypeScript,
    check: (text) => linesMatching(text, silenced),
  },
  {
    name: "no path of one machine",
    appliesTo: isTypeScript,
    check: (text) => linesMatching(text, machinePath),
  },
  {
    name: "the engine has no ambient time or randomness",
    appliesTo: (path) => isShipped(path) && path.startsWith("packages/engine/"),
    check: (text) => linesMatching(text, ambient),
  },
  {
    name: `a shipped module has at most ${maximumLines} lines`,
    appliesTo: isShipped,
    check: (text) => {
      const lines = text.split("\n").length - 1;
      return lines > maximumLines ? [`${lines} lines`] : [];
    },
  },
];

function linesMatching(text: string, pattern: RegExp): string[] {
  return text.split("\n").flatMap((line, index) => (pattern.test(line) ? [`${index + 1}: ${line.trim()}`] : []));
}

/** All places in `files` where a rule is broken, each as `rule: path:line: text`. */
export function textRuleViolations(files: readonly SourceFile[]): string[] {
  return textRules.flatMap((rule) =>
    files
      .filter(({ path }) => rule.appliesTo(path))
      .flatMap(({ path, text }) => rule.check(text).map((place) => `${rule.name}: ${path}:${place}`)),
  );
}
