/**
 * A power cut without cutting power: follows the calls of a process and knows what a disk must hold after each of them and what it may have lost.
 * Data is safe once a sync of its file that began behind the write has succeeded; a name is safe once its folder has been synced behind it. What an
 * operation relies on has to be safe when it begins.
 */
import { dirname } from "node:path";
import type { CallStep } from "./trace.ts";

/** When a call of these begins on a path, what must be safe by then. */
export interface Reliance {
  readonly on: (step: CallStep) => boolean;
  /** Paths relative to the data folder. */
  readonly needs: RegExp;
  readonly says: string;
}

interface FileState {
  /** Counts the writes, and those that a sync has covered. */
  writes: number;
  safeWrites: number;
  /** Written under this name; a file that is prepared for later is not relied on. */
  used: boolean;
}

const writes = /^(write|pwrite64|pwritev|pwritev2|writev|ftruncate)$/;
const syncs = /^(fsync|fdatasync)$/;

/** The violations, each as one sentence. */
export function durabilityViolations(
  steps: readonly CallStep[],
  folder: string,
  reliances: readonly Reliance[],
): string[] {
  const found: string[] = [];
  const files = new Map<string, FileState>();
  /** Names and folders that are not safe in the folder above them. */
  const names = new Set<string>();
  /** What the sync under way in a thread covers. */
  const covering = new Map<string, { writes: number; names: string[] }>();
  const failed = new Set<string>();
  const short = (path: string): string => path.slice(folder.length + 1);
  const state = (path: string): FileState => {
    let file = files.get(path);
    if (!file) {
      file = { writes: 0, safeWrites: 0, used: false };
      files.set(path, file);
    }
    return file;
  };
  const isDirty = (path: string): boolean => {
    const { writes = 0, safeWrites = 0 } = files.get(path) ?? {};
    return writes > safeWrites;
  };
  const unsafeOf = (path: string): string | undefined => {
    if (isDirty(path)) return `the bytes of ${short(path)}`;
    for (let at = path; at.length > folder.length; at = dirname(at)) {
      if (names.has(at)) return `the name of ${short(at)}`;
    }
    return undefined;
  };

  for (const step of steps) {
    const { name, paths, result } = step;
    if (step.step === "begin") {
      for (const { on, needs, says } of reliances) {
        if (!on(step)) continue;
        if (failed.size > 0) found.push(`${says} after a failed sync of ${[...failed].map(short).join()}`);
        for (const [path, file] of files) {
          if (!file.used || !needs.test(short(path))) continue;
          const unsafe = unsafeOf(path);
          if (unsafe !== undefined) found.push(`${says} while ${unsafe} could still be lost`);
        }
      }
    }
    const [first, second] = paths;
    if (first === undefined || (first !== folder && !first.startsWith(`${folder}/`))) continue;
    if (step.step === "begin") {
      if (writes.test(name)) {
        state(first).writes += 1;
        state(first).used = true;
      }
      if (syncs.test(name)) {
        if (failed.has(first)) found.push(`${short(first)} is synced again after its sync failed`);
        const below = [...names].filter((one) => dirname(one) === first);
        covering.set(step.pid, { writes: files.get(first)?.writes ?? 0, names: below });
      }
      if (/^rename/.test(name) && isDirty(first)) found.push(`${short(first)} is renamed before its bytes are synced`);
      continue;
    }
    if (syncs.test(name)) {
      const sync = covering.get(step.pid);
      const file = files.get(first);
      if (result === "0") {
        for (const one of sync?.names ?? []) names.delete(one);
        if (file && sync) file.safeWrites = Math.max(file.safeWrites, sync.writes);
      } else if (/^E/.test(result)) failed.add(first);
      continue;
    }
    if (/^E|^\?/.test(result)) continue;
    if (/^(open|openat|creat)$/.test(name) && step.text.includes("O_CREAT") && !files.has(first)) {
      state(first);
      names.add(first);
    }
    if (/^mkdir/.test(name)) names.add(first);
    if (/^unlink/.test(name)) {
      files.delete(first);
      names.delete(first);
    }
    if (/^(rename|link)/.test(name) && second !== undefined) {
      const file = state(first);
      files.set(second, { ...file, used: /^rename/.test(name) });
      names.add(second);
      if (/^rename/.test(name)) {
        files.delete(first);
        names.delete(first);
      }
    }
  }
  return [...new Set(found)];
}
