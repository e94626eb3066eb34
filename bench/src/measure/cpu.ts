/** CPU time of a process with all its threads and all its descendants, living and reaped. */
import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ: 100 on every Linux that Node supports. */
const ticksPerSecond = 100;

interface Stat {
  readonly parent: number;
  readonly ticks: number;
}

/** proc(5): fields after the name in brackets, which may itself contain brackets and blanks. */
function statOf(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  // ppid is field 4; utime, stime, cutime and cstime are 14 to 17, and the first field left is number 3.
  const ticks = [14, 15, 16, 17].reduce((sum, field) => sum + Number(fields[field - 3]), 0);
  return { parent: Number(fields[1]), ticks };
}

function statsNow(): Map<number, Stat> {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat !== undefined) stats.set(Number(name), stat);
  }
  return stats;
}

/** `pid` and its living descendants. */
export function treeOf(pid: number, stats: ReadonlyMap<number, { readonly parent: number }> = statsNow()): number[] {
  const belongs = (candidate: number): boolean => {
    for (let at = candidate; at > 1; at = stats.get(at)?.parent ?? 0) if (at === pid) return true;
    return false;
  };
  return [...stats.keys()].filter(belongs);
}

/** CPU seconds that `pid` and its descendants have used. 0 when it is gone. */
export function treeCpuSeconds(pid: number): number {
  const stats = statsNow();
  return treeOf(pid, stats).reduce((ticks, member) => ticks + (stats.get(member)?.ticks ?? 0), 0) / ticksPerSecond;
}
