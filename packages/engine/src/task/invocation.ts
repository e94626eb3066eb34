/** One call of a handler: what it does is written to a ledger. The synchronous path uses one object again and again; an asynchronous call has its own. */
import { HeadraceError } from "@headrace/sdk";
import { checkSize, effectBytesMax, encodeJson } from "./json-text.ts";
import { invocationBytesMax, invocationOutputsMax, type Ledger } from "./ledger.ts";
import { packCommand } from "./owed-command.ts";
import type { Effect, Invocation, TaskSpec } from "./spec.ts";

/** Three bytes each at most, and their number is stored in 16 bits. */
const keyLengthMax = 21_845;

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
  /** Bytes of the ledger when the invocation began. */
  #bytesBefore = 0;

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
    this.#bytesBefore = this.#ledger.byteLength;
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
  #admit(payload: Uint8Array): Uint8Array {
    const byteLength = this.#ledger.byteLength - this.#bytesBefore + payload.byteLength;
    if (byteLength > invocationBytesMax || this.#index >= invocationOutputsMax) {
      throw new HeadraceError(
        "HR_BLOCK_TOO_LARGE",
        `${this.#spec.functionName}: one invocation puts out at most ${invocationOutputsMax} events and ${invocationBytesMax} bytes`,
        { data: { byteLength, outputs: this.#index + 1 } },
      );
    }
    return payload;
  }
  emit(stream: string, value: unknown, key = this.key, device = this.device): void {
    this.emitEncoded(stream, encodeJson(value), key, device);
  }
  emitEncoded(stream: string, payload: Uint8Array, key: string, device: string): void {
    this.#check();
    checkSize(payload);
    if (typeof key !== "string" || key.length > keyLengthMax) {
      throw new HeadraceError(
        "HR_STATE_INVALID",
        `the key of an emitted event is a string of at most ${keyLengthMax} characters`,
      );
    }
    this.#ledger.output({
      stream,
      key,
      device,
      payload: this.#admit(payload),
      cause: `${this.cause}/${this.#index++}`,
    });
  }
  effect(effect: Effect): string {
    this.#check();
    // Ids travel in topics, where a slash would part them.
    const id = `${this.cause}/${this.#index++}`.replaceAll("/", ":");
    const { functionName } = this.#spec;
    const payload =
      effect.kind === "command"
        ? packCommand({ ...effect, id, key: this.key }, functionName)
        : encodeJson({ id, key: this.key, function: functionName, effect }, effectBytesMax);
    this.#admit(payload);
    const device = effect.kind === "command" ? effect.device : this.device;
    this.#ledger.effect({ id, kind: effect.kind, device, payload });
    return id;
  }
  setTimer(name: string, dueMs: number): void {
    this.#check();
    // What a device says about time may be any number; a timer is kept as whole milliseconds.
    const wholeMs = Math.min(Math.max(0, Math.ceil(dueMs)), Number.MAX_SAFE_INTEGER);
    this.#ledger.timers.push({ key: this.key, name, dueMs: wholeMs });
  }
  removeTimer(name: string): void {
    this.#check();
    this.#ledger.timers.push({ key: this.key, name, dueMs: undefined });
  }
}
