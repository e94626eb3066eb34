/** The bench's side of a traffic process. */
import { BenchError } from "../errors.ts";
import { AskedProcess, processFile } from "../processes/asked-process.ts";
import type { TrafficAnswer, TrafficOptions, TrafficRequest, TrafficSample } from "./messages.ts";

export class Traffic implements AsyncDisposable {
  readonly #process = new AskedProcess<TrafficRequest, TrafficAnswer>(
    "traffic",
    processFile("traffic", import.meta.url),
  );

  private constructor() {}

  /** Starts publishers and subscribers, all of them connected and subscribed. */
  static async start(options: TrafficOptions): Promise<Traffic> {
    const traffic = new Traffic();
    try {
      await traffic.#process.ask({ type: "connect", options });
    } catch (error) {
      await traffic[Symbol.asyncDispose]();
      throw error;
    }
    return traffic;
  }

  async load(isOn: boolean): Promise<void> {
    await this.#process.ask({ type: "load", isOn });
  }

  async sample(options: { readonly resetLatency: boolean } = { resetLatency: false }): Promise<TrafficSample> {
    const answer = await this.#process.ask({ type: "sample", ...options });
    if (answer.type !== "sample") throw new BenchError(`the traffic answered ${answer.type} instead of a sample`);
    return answer.sample;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
