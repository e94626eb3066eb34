/** Reads what `strace -f -y` wrote: file system calls with their paths, in the order in which they began and ended. */

/** One end of a call. A call that was not interrupted by another thread begins and ends at once. */
export interface CallStep {
  readonly step: "begin" | "end";
  readonly name: string;
  readonly pid: string;
  /** The path behind a descriptor argument, and the paths that are arguments. */
  readonly paths: readonly string[];
  readonly text: string;
  /** Of an ended call: 0 or more, or the name of the error. */
  readonly result: string;
}

const call = /^(\d+)\s+(?:[\d.]+ )?(\w+)\((.*)$/;
const resumed = /^(\d+)\s+(?:[\d.]+ )?<\.\.\. (\w+) resumed>(.*)$/;
const descriptorPath = /^(?:AT_FDCWD|\d+)<([^>]*)>/;
const quoted = /"((?:[^"\\]|\\.)*)"/g;

const isPathCall = (name: string): boolean =>
  /^(open|openat|creat|rename|renameat|renameat2|link|linkat|unlink|unlinkat|mkdir|mkdirat|rmdir)$/.test(name);

const pathsOf = (name: string, args: string): string[] => {
  if (isPathCall(name)) return [...args.matchAll(quoted)].map(([, path]) => path!);
  const [, path] = descriptorPath.exec(args) ?? [];
  return path === undefined ? [] : [path];
};

const resultOf = (text: string): string => {
  const [, value, error] = /\)\s+= (-?\d+|\?)(?:<[^>]*>)?(?: (E[A-Z]+))?/.exec(text) ?? [];
  return value === "-1" ? (error ?? "E?") : (value ?? "?");
};

/** The steps of a trace; lines that are no calls (signals, exits) are left out. */
export function stepsOf(trace: string): CallStep[] {
  const steps: CallStep[] = [];
  const open = new Map<string, CallStep>();
  for (const line of trace.split("\n")) {
    const started = call.exec(line);
    if (started) {
      const [, pid, name, args] = started as unknown as [string, string, string, string];
      const begin: CallStep = { step: "begin", name, pid, paths: pathsOf(name, args), text: args, result: "" };
      steps.push(begin);
      if (args.endsWith("<unfinished ...>")) open.set(pid, begin);
      else steps.push({ ...begin, step: "end", result: resultOf(args) });
      continue;
    }
    const [, pid, , rest] = resumed.exec(line) ?? [];
    const begin = pid === undefined ? undefined : open.get(pid);
    if (!begin || rest === undefined) continue;
    open.delete(begin.pid);
    steps.push({ ...begin, step: "end", text: begin.text + rest, result: resultOf(rest) });
  }
  return steps;
}
