/** Owns the query process: starts it when it is needed, kills it when a query takes too long or too much. */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { HeadraceError } from "@headrace/sdk";
import type { QueryAnswer, QueryMessage, QueryRequest, QuerySetup } from "./query-protocol.ts";

const source = import.meta.url.endsWith(".ts");
const processFile = fileURLToPath(new URL(source ? "./query-process.ts" : "./query-process.js", import.meta.url));
/** What Node and DuckDB need beside the memory that DuckDB counts. */
const uncountedBytes = 384 * 1024 * 1024;
const memoryCheckMs = 50;

const limit = (message: string): HeadraceError => new HeadraceError("HR_QUERY_LIMIT", message);

/** Resident memory; 0 where it cannot be known cheaply. */
const residentBytes = (pid: number | undefined): number => {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "latin1").split(" ")[1]) * 4096;
  } catch {
    return 0;
  }
};

export class QueryClient {
  readonly #setup: QuerySetup;
  #child: ChildProcess | undefined;

  constructor(setup: QuerySetup) {
    this.#setup = setup;
  }

  /** Runs one query; the caller sends one at a time. */
  run(request: QueryRequest, timeoutMs: number): Promise<QueryAnswer> {
    this.#child ??= this.#start();
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timeout);
        clearInterval(memory);
        child.off("message", onMessage).off("exit", onExit).off("error", onError);
      };
      const stop = (error: HeadraceError): void => {
        end();
        this.#kill();
        reject(error);
      };
      const onMessage = (message: QueryMessage): void => {
        end();
        if ("result" in message) resolve(message.result);
        else if (message.error.kind === "notSelect") {
          reject(
            new HeadraceError("HR_QUERY_NOT_SELECT", `only one SELECT statement is accepted: ${message.error.message}`),
          );
        } else if (message.error.kind === "limit")
          reject(limit(`the query needs more than its memory: ${message.error.message}`));
        else reject(new HeadraceError("HR_QUERY_FAILED", message.error.message));
      };
      const onExit = (): void => stop(limit("the query process ended, most likely for want of memory"));
      const onError = (cause: Error): void =>
        stop(new HeadraceError("HR_UNAVAILABLE", "the query process cannot be reached", { cause }));
      const timeout = setTimeout(() => stop(limit(`the query took longer than ${timeoutMs} ms`)), timeoutMs);
      const memory = setInterval(() => {
        const bytes = residentBytes(child.pid);
        if (bytes > this.#setup.memoryBytes + uncountedBytes) stop(limit(`the query process grew to ${bytes} bytes`));
      }, memoryCheckMs);
      child.on("message", onMessage).on("exit", onExit).on("error", onError);
      child.send(request, (cause) => {
        if (cause) onError(cause);
      });
    });
  }

  close(): void {
    this.#kill();
  }

  #start(): ChildProcess {
    const child = fork(processFile, [JSON.stringify(this.#setup)], {
      env: {},
      execArgv: ["--max-old-space-size=192", "--disable-warning=ExperimentalWarning"],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      cwd: this.#setup.folder,
    });
    child.unref();
    child.channel?.unref();
    child.once("exit", () => {
      if (this.#child === child) this.#child = undefined;
    });
    // Without a listener a failed start would end the node; the query that runs has its own.
    child.on("error", () => undefined);
    return child;
  }

  #kill(): void {
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }
}
