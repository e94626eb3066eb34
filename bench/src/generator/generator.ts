/** The bench's side of a generator process. */
import { type ChildProcess, fork } from "node:child_process";
import { BenchError } from "../errors.ts";
import type { AcknowledgedIds, Answer, GeneratorOptions, Load, Request, Sample } from "./messages.ts";

const processFile = new URL(
  import.meta.url.endsWith(".ts") ? "./generator-process.ts" : "./generator-process.js",
  import.meta.url,
);

export class Generator implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting: { resolve(answer: Answer): void; reject(error: Error): void }[] = [];
  #ended: Error | undefined;

  private constructor() {
    this.#child = fork(processFile, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#child.on("message", (answer: Answer) => this.#waiting.shift()?.resolve(answer));
    this.#child.once("exit", (code, signal) => {
      this.#ended = new BenchError(`the generator ended with ${signal ?? code}`);
      for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
    });
  }

  /** Starts a generator whose connections are all accepted. */
  static async start(options: GeneratorOptions): Promise<Generator> {
    const generator = new Generator();
    try {
      await generator.#ask({ type: "connect", options });
    } catch (error) {
      await generator[Symbol.asyncDispose]();
      throw error;
    }
    return generator;
  }

  async load(load: Load): Promise<void> {
    await this.#ask({ type: "load", load });
  }

  /** Counters now; the latencies are those since the last sample that reset them. */
  async sample(options: { readonly resetLatency: boolean } = { resetLatency: false }): Promise<Sample> {
    const answer = await this.#ask({ type: "sample", ...options });
    if (answer.type !== "sample") throw new BenchError(`the generator answered ${answer.type} instead of a sample`);
    return answer.sample;
  }

  /** Ids that the server acknowledged, by connection. */
  async acknowledged(): Promise<readonly AcknowledgedIds[]> {
    const answer = await this.#ask({ type: "acknowledged" });
    if (answer.type !== "acknowledged") throw new BenchError(`the generator answered ${answer.type} instead of ids`);
    return answer.connections;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    const exited = new Promise((exit) => this.#child.once("exit", exit));
    this.#child.kill("SIGKILL");
    await exited;
  }

  #ask(request: Request): Promise<Answer> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise<Answer>((resolve, reject) => {
      this.#waiting.push({
        reject,
        resolve: (answer) =>
          answer.type === "failed" ? reject(new BenchError(`generator: ${answer.message}`)) : resolve(answer),
      });
      this.#child.send(request);
    });
  }
}
