/** Runs of the log process on one data folder, one after another, with what each said, judged by the history checker. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { plantedArgs } from "../../planted/index.ts";
import { type MessageId, violationsOf } from "../checker.ts";
import { environment, repository } from "../node-process.ts";
import { durabilityViolations, type Reliance } from "./durability.ts";
import type { LogLoad } from "./log-process.ts";
import { type CallStep, stepsOf } from "./trace.ts";

/** What a process may be given besides its load. */
export interface RunOptions {
  /** Arguments of `-e inject=`, as in `fdatasync:signal=SIGKILL:when=3`. */
  readonly inject?: string;
  /** Calls on this path only. */
  readonly path?: string;
  /** Records all file calls, for the judge of durability. */
  readonly trace?: boolean;
  /** A command in front of the process. */
  readonly prefix?: readonly string[];
  readonly bug?: string | undefined;
  /** Called with each line of its output. */
  readonly onLine?: (line: string, pid: number) => void;
}

export interface LogRun {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly sent: readonly string[];
  readonly acked: readonly string[];
  readonly refused: readonly string[];
  /** Undefined when the log did not open. */
  readonly recovered: readonly string[] | undefined;
  readonly fatal: string | undefined;
  readonly cut: string | undefined;
  readonly steps: readonly CallStep[];
  readonly stderr: string;
}

const program = fileURLToPath(new URL("./log-process.ts", import.meta.url));
const fileCalls =
  "openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat";
/** Of one run; a hung one is a failure. */
const deadlineMs = 60_000;

/** Starts of a process under strace. */
export const straceArgs = ({ inject, path, trace }: RunOptions, output: string): string[] => {
  if (inject === undefined && !trace) return [];
  const call = inject?.split(":")[0] ?? "";
  return [
    ...["strace", "-f", "-qq", "-y", "-s", "16", "-o", output],
    ...(path === undefined ? [] : ["-P", path]),
    // Stops at the traced calls only; nothing is injected then.
    ...(inject === undefined ? ["--seccomp-bpf"] : []),
    ...["-e", `trace=${trace ? fileCalls : call}`, "-e", "signal=none"],
    ...(inject === undefined ? [] : ["-e", `inject=${inject}`]),
  ];
};

export async function runLog(load: LogLoad, options: RunOptions = {}): Promise<LogRun> {
  const traceFile = join(load.folder, "..", `trace-${load.run}`);
  const node = [process.execPath, "--conditions=headrace-source", "--disable-warning=ExperimentalWarning"];
  const full = [
    ...straceArgs(options, traceFile),
    ...(options.prefix ?? []),
    ...[...node, ...plantedArgs(options.bug), program, JSON.stringify(load)],
  ];
  const [file, ...args] = full as [string, ...string[]];
  const child = spawn(file, args, { cwd: repository, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  let said = 0;
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
    const lines = stdout.split("\n");
    for (; said < lines.length - 1; said++) options.onLine?.(lines[said]!, child.pid ?? -1);
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  const late = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
  const { code, signal } = await new Promise<Pick<LogRun, "code" | "signal">>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  clearTimeout(late);
  const lines = stdout.split("\n");
  const rest = (word: string): string[] =>
    lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
  const [recovered] = rest("recovered");
  return {
    code,
    signal,
    sent: rest("sent"),
    acked: rest("acked"),
    refused: rest("refused"),
    recovered: recovered === undefined ? undefined : (JSON.parse(recovered) as string[]),
    fatal: rest("fatal")[0],
    cut: rest("cut")[0],
    steps: options.trace ? stepsOf(readFileSync(traceFile, "utf8")) : [],
    stderr,
  };
}

const idOf = (text: string): MessageId => {
  const [epoch = 0, sequence = 0] = text.split(".").map(Number);
  return { device: "load", epoch, sequence };
};

/** All runs on one folder, and what they must add up to. */
export class LogHistory {
  readonly folder: string;
  readonly #sent: string[] = [];
  readonly #acked: string[] = [];
  #run = 0;

  constructor(folder: string) {
    this.folder = folder;
  }
  get acknowledged(): number {
    return this.#acked.length;
  }

  /** One more run; what it recovers is judged against the runs before. Returns what is wrong. */
  async next(
    load: Omit<LogLoad, "folder" | "run">,
    options: RunOptions = {},
  ): Promise<{ run: LogRun; violations: string[] }> {
    const run = await runLog({ ...load, folder: this.folder, run: ++this.#run }, options);
    const violations = run.recovered
      ? violationsOf(
          { sent: this.#sent.map(idOf), acknowledged: this.#acked.map(idOf), stored: run.recovered.map(idOf) },
          "exactlyOnce",
        )
      : [];
    this.#sent.push(...new Set(run.sent));
    this.#acked.push(...run.acked);
    return { run, violations };
  }
}

/** What the log relies on: an acknowledgement on the write-ahead log, a deleted segment on history. */
export const logReliances: readonly Reliance[] = [
  {
    on: ({ name, paths: [path = ""], text }) => name === "write" && !path.startsWith("/") && text.includes('"acked '),
    needs: /^wal\/\d+\.wal$/,
    says: "acknowledged",
  },
  {
    on: ({ name, paths: [path = ""] }) => name === "unlink" && /\/wal\/\d+\.wal$/.test(path),
    needs: /^history\/(manifest|\d+\/\d+\.hist)$/,
    says: "a segment is deleted",
  },
];

/** What a power cut could have done to a traced run. */
export const powerCutViolations = (run: LogRun, folder: string): string[] =>
  durabilityViolations(run.steps, folder, logReliances);
