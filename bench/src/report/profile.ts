/** CPU profiles of a node's threads as a list: where each spent its time. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const entriesMax = 15;
const waiting = new Set(["(idle)", "(program)", "(root)"]);

/** `packages/server/src/log/wal.ts` of a file URL, for people. */
const shortened = (url: string): string => url.replace(/^.*\/(packages|node_modules|bench|examples)\//, "$1/");

function profileText(name: string, { nodes, samples, timeDeltas }: Profile): string {
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]));
  const times = new Map<string, number>();
  let totalUs = 0;
  samples.forEach((id, index) => {
    const frame = byId.get(id);
    if (frame === undefined) return;
    const us = timeDeltas[index] ?? 0;
    totalUs += us;
    const place = frame.url === "" ? "" : `  ${shortened(frame.url)}:${frame.lineNumber + 1}`;
    const entry = `${frame.functionName || "(anonymous)"}${place}`;
    times.set(entry, (times.get(entry) ?? 0) + us);
  });
  const share = (us: number): string => `${((us / totalUs) * 100).toFixed(1).padStart(5)} %`;
  const idleUs = times.get("(idle)") ?? 0;
  const busiest = [...times].filter(([entry]) => !waiting.has(entry)).sort(([, a], [, b]) => b - a);
  const outside = times.get("(program)") ?? 0;
  return [
    `${name}: ${(totalUs / 1e6).toFixed(1)} s, idle ${share(idleUs).trim()}, outside of JavaScript ${share(outside).trim()}`,
    ...busiest.slice(0, entriesMax).map(([entry, us]) => `  ${share(us)}  ${entry}`),
  ].join("\n");
}

/** One list per profile in the folder that was not there `before`. */
export function profilesText(folder: string, before: ReadonlySet<string>): string {
  return profileFiles(folder)
    .filter((file) => !before.has(file))
    .map((file) =>
      profileText(basename(file, ".cpuprofile"), JSON.parse(readFileSync(join(folder, file), "utf8")) as Profile),
    )
    .join("\n");
}

export const profileFiles = (folder: string): string[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith(".cpuprofile"))
    .sort();
