/** What invocations have asked for and no commit has taken yet. An invocation that fails is cut off by the marks taken before it. */
import type { TimerChange } from "./commit-format.ts";

export interface Output {
  readonly stream: string;
  readonly key: string;
  readonly device: string;
  readonly payload: Uint8Array;
  readonly cause: string;
}
export interface OwedEffect {
  readonly id: string;
  readonly kind: string;
  /** Whom it is owed to: everything of one device stays in order. */
  readonly device: string;
  /** Packed when it is asked for, so that what cannot be packed fails its handler and not the commit. */
  readonly payload: Uint8Array;
}

export interface LedgerMark {
  readonly byteLength: number;
  readonly outputs: number;
  readonly effects: number;
  readonly timers: number;
}

/** What one invocation may put out, in bytes of payloads and in events: one that runs away fails by itself. */
export const invocationBytesMax = 8 * 1024 * 1024;
export const invocationOutputsMax = 10_000;
/**
 * A commit is closed once it holds this much; what one invocation adds comes on top, and all of it is one group of the log. The rest of the
 * block that was being handled waits for the next commit.
 */
export const commitBytesMax = 8 * 1024 * 1024;

export class Ledger {
  outputs: Output[] = [];
  effects: OwedEffect[] = [];
  timers: TimerChange[] = [];
  /** Bytes of the payloads in it. */
  byteLength = 0;

  output(output: Output): void {
    this.outputs.push(output);
    this.byteLength += output.payload.byteLength;
  }
  effect(effect: OwedEffect): void {
    this.effects.push(effect);
    this.byteLength += effect.payload.byteLength;
  }

  mark(): LedgerMark {
    return {
      byteLength: this.byteLength,
      outputs: this.outputs.length,
      effects: this.effects.length,
      timers: this.timers.length,
    };
  }
  cut(mark: LedgerMark): void {
    this.byteLength = mark.byteLength;
    this.outputs.length = mark.outputs;
    this.effects.length = mark.effects;
    this.timers.length = mark.timers;
  }
  /** Adds what another ledger holds: an asynchronous invocation keeps its own until it ends. */
  absorb(other: Ledger): void {
    this.byteLength += other.byteLength;
    for (const output of other.outputs) this.outputs.push(output);
    for (const effect of other.effects) this.effects.push(effect);
    for (const timer of other.timers) this.timers.push(timer);
  }
  take(): { outputs: Output[]; effects: OwedEffect[]; timers: TimerChange[] } {
    const taken = { outputs: this.outputs, effects: this.effects, timers: this.timers };
    this.outputs = [];
    this.effects = [];
    this.timers = [];
    this.byteLength = 0;
    return taken;
  }
  get isEmpty(): boolean {
    return this.outputs.length === 0 && this.effects.length === 0 && this.timers.length === 0;
  }
}
