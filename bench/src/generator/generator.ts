/** The bench's side of a generator process. */
import { BenchError } from "../errors.ts";
import { AskedProcess, processFile } from "../processes/asked-process.ts";
import type { AcknowledgedIds, Answer, GeneratorOptions, Load, Request, Sample } from "./messages.ts";

export class Generator implements AsyncDisposable {
  readonly #process = new AskedProcess<Request, Answer>("generator", processFile("generator", import.meta.url));

  private constructor() {}

  /** Starts a generator whose connections are all accepted. */
  static async start(options: GeneratorOptions): Promise<Generator> {
    const generator = new Generator();
    try {
      await generator.#process.ask({ type: "connect", options });
    } catch (error) {
      await generator[Symbol.asyncDispose]();
      throw error;
    }
    return generator;
  }

  async load(load: Load): Promise<void> {
    await this.#process.ask({ type: "load", load });
  }

  /** Counters now; the latencies are those since the last sample that reset them. */
  async sample(options: { readonly resetLatency: boolean } = { resetLatency: false }): Promise<Sample> {
    const answer = await this.#process.ask({ type: "sample", ...options });
    if (answer.type !== "sample") throw new BenchError(`the generator answered ${answer.type} instead of a sample`);
    return answer.sample;
  }

  /** Ids that the server acknowledged, by connection. */
  async acknowledged(): Promise<readonly AcknowledgedIds[]> {
    const answer = await this.#process.ask({ type: "acknowledged" });
    if (answer.type !== "acknowledged") throw new BenchError(`the generator answered ${answer.type} instead of ids`);
    return answer.connections;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
