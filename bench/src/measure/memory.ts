/** Memory of a process with all its descendants as proportional set size: what is shared counts once, by shares. */
import { readFileSync } from "node:fs";
import { treeOf } from "./cpu.ts";

/** Bytes of `pid` and its descendants; proc(5), smaps_rollup. 0 when it is gone. */
export function treePssBytes(pid: number): number {
  let kilobytes = 0;
  for (const member of treeOf(pid)) {
    try {
      const text = readFileSync(`/proc/${member}/smaps_rollup`, "utf8");
      kilobytes += Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
    } catch {
      // It has ended meanwhile.
    }
  }
  return kilobytes * 1024;
}
