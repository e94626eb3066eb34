/** Which test finds which planted bug, and the proof: the test is run with the bug in the sources and has to fail. */
import { type RunResult, runTests } from "./runs.ts";

interface Finder {
  readonly file: string;
  readonly test: RegExp;
}

const logCrash = "tests/src/faults/log-crash.test.ts";
const pageCache = "packages/server/src/log/page-cache.test.ts";
const kills = { file: "tests/src/faults/node-crash.test.ts", test: /S1, P16: / };

export const finders: Readonly<Record<string, Finder>> = {
  "ack-before-fsync": { file: logCrash, test: /S3: the cycle/ },
  "ignore-fsync-error": { file: logCrash, test: /S4: fdatasync fails once/ },
  "no-dir-fsync": { file: logCrash, test: /S3: the cycle/ },
  "trust-cached-frame": { file: pageCache, test: /a frame / },
  "trust-cached-manifest": { file: pageCache, test: /a segment is not deleted/ },
  "trust-cached-names": { file: pageCache, test: /folders and files/ },
  "truncate-mid-log": { file: "tests/src/faults/log-damage.test.ts", test: /S9: in a write-ahead log/ },
  "commit-without-fence": { file: "packages/server/src/log/embedded.test.ts", test: /a former owner is fenced/ },
  "checkpoint-before-outbox": kills,
  "drop-on-takeover": kills,
  "retained-skips-acl": { file: "packages/server/src/gateway", test: /P9: / },
  "dedupe-only-in-memory": { file: "packages/server/src/gateway/gateway.test.ts", test: /survive a crash/ },
  "offset-off-by-one": kills,
  "timer-fires-twice": { file: "packages/engine/src/task/timers-due.test.ts", test: /P15: / },
};

const limitMs = 240_000;

/** Undefined when the bug is found; otherwise what happened instead. */
export async function missed(bug: string): Promise<string | undefined> {
  const finder = finders[bug];
  if (!finder) return `nothing is named that finds ${bug}`;
  const result: RunResult = await runTests([finder.file], finder.test, { HEADRACE_PLANTED: bug }, "nothing", limitMs);
  if (result.broken.length > 0) return `with ${bug} a test file does not load: ${result.broken.join("; ")}`;
  if (result.failed > 0) return undefined;
  return `${bug} was not found: ${result.passed} tests of ${finder.file} that match ${finder.test} passed`;
}
