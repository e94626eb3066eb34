/** A process of the bench that answers one request after the other. */
import { type ChildProcess, fork } from "node:child_process";
import { BenchError } from "../errors.ts";

export interface Failed {
  readonly type: "failed";
  readonly message: string;
}

/** The file of a process beside the module that starts it, as source or built. */
export const processFile = (name: string, moduleUrl: string): URL =>
  new URL(`./${name}-process${moduleUrl.endsWith(".ts") ? ".ts" : ".js"}`, moduleUrl);

export class AskedProcess<Request extends object, Answer extends object> implements AsyncDisposable {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #waiting: { resolve(answer: Answer): void; reject(error: Error): void }[] = [];
  #ended: Error | undefined;

  /** @param name for errors */
  constructor(name: string, file: URL) {
    this.#name = name;
    this.#child = fork(file, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#child.on("message", (answer: Answer | Failed) => {
      const waiting = this.#waiting.shift();
      if (isFailed(answer)) waiting?.reject(new BenchError(`${name}: ${answer.message}`));
      else waiting?.resolve(answer);
    });
    this.#child.once("exit", (code, signal) => {
      this.#ended = new BenchError(`the ${this.#name} ended with ${signal ?? code}`);
      for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
    });
  }

  ask(request: Request): Promise<Answer> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise<Answer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#child.send(request);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    const exited = new Promise((exit) => this.#child.once("exit", exit));
    this.#child.kill("SIGKILL");
    await exited;
  }
}

const isFailed = (answer: object): answer is Failed => "type" in answer && answer.type === "failed";

/** The process's side: answers each request, or says why not. */
export function answerRequests<Request, Answer extends object>(handle: (request: Request) => Promise<Answer>): void {
  const send = (message: Answer | Failed): void => void process.send?.(message);
  process.on("message", (request: Request) => {
    handle(request).then(send, (error: Error) => send({ type: "failed", message: error.message }));
  });
  // Without its bench there is nothing to measure. Signals are the bench's business.
  process.on("disconnect", () => process.exit(0));
  process.on("SIGINT", () => {});
}

/** Settles with `work`, or rejects when that takes longer. */
export async function within<T>(work: Promise<T>, ms: number, message: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(message())), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
