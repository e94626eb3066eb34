/** The bench's side of a crowd process. */
import { BenchError } from "../errors.ts";
import { AskedProcess, processFile } from "../processes/asked-process.ts";
import type { CrowdAnswer, CrowdOptions, CrowdRequest, CrowdSample } from "./messages.ts";

export class Crowd implements AsyncDisposable {
  readonly #process = new AskedProcess<CrowdRequest, CrowdAnswer>("crowd", processFile("crowd", import.meta.url));

  private constructor() {}

  /** Starts a crowd: all connected if they stay. */
  static async start(options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd();
    try {
      await crowd.#process.ask({ type: "connect", options });
    } catch (error) {
      await crowd[Symbol.asyncDispose]();
      throw error;
    }
    return crowd;
  }

  async sample(options: { readonly resetLatency: boolean } = { resetLatency: false }): Promise<CrowdSample> {
    const answer = await this.#process.ask({ type: "sample", ...options });
    if (answer.type !== "sample") throw new BenchError(`the crowd answered ${answer.type} instead of a sample`);
    return answer.sample;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
