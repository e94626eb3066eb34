/** One call of a handler: what it does is written to a ledger. The synchronous path uses one object again and again; an asynchronous call has its own. */
import { HeadraceError } from "@headrace/sdk";
import { encodeJson, type Ledger } from "./ledger.ts";
import type { Effect, Invocation, TaskSpec } from "./spec.ts";

export class LedgerInvocation implements Invocation {
  readonly #spec: TaskSpec;
  readonly #ledger: Ledger;
  key = "";
  device = "";
  nowMs = 0;
  state: unknown = undefined;
  ended = true;
  #logId = 0;
  #writer = 0;
  #sequence = 0;
  #index = 0;

  constructor(spec: TaskSpec, ledger: Ledger) {
    this.#spec = spec;
    this.#ledger = ledger;
  }

  begin(
    key: string,
    device: string,
    nowMs: number,
    state: unknown,
    logId: number,
    writer: number,
    sequence: number,
  ): void {
    this.key = key;
    this.device = device;
    this.nowMs = nowMs;
    this.state = state;
    this.#logId = logId;
    this.#writer = writer;
    this.#sequence = sequence;
    this.#index = 0;
    this.ended = false;
  }

  get cause(): string {
    return `${this.#spec.name}/${this.#logId}/${this.#writer}/${this.#sequence}`;
  }
  #check(): void {
    if (this.ended)
      throw new HeadraceError(
        "HR_STATE_INVALID",
        `${this.#spec.functionName}: a handler used its context after it had returned`,
      );
  }
  emit(stream: string, value: unknown, key = this.key): void {
    this.#check();
    this.#ledger.outputs.push({
      stream,
      key,
      device: this.device,
      payload: encodeJson(value),
      cause: `${this.cause}/${this.#index++}`,
    });
  }
  effect(effect: Effect): string {
    this.#check();
    // Ids travel in topics, where a slash would part them.
    const id = `${this.cause}/${this.#index++}`.replaceAll("/", ":");
    this.#ledger.effects.push({ id, key: this.key, device: this.device, effect });
    return id;
  }
  setTimer(name: string, dueMs: number): void {
    this.#check();
    this.#ledger.timers.push({ key: this.key, name, dueMs });
  }
  removeTimer(name: string): void {
    this.#check();
    this.#ledger.timers.push({ key: this.key, name, dueMs: undefined });
  }
}
