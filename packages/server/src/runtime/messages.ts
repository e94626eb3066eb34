/** What the node and a function worker say to each other. Blocks are moved, never shared. */
import type { CommitMeta, TaskPlan } from "@headrace/engine";

export interface TaskStart {
  readonly plan: TaskPlan;
  readonly epoch: number;
  readonly inputLogIds: readonly number[];
  readonly outputLogIds: readonly (readonly [string, number])[];
  readonly effectsLogId: number;
  readonly journalLogId: number;
  /** Next sequence of each log that the task writes. */
  readonly ends: readonly (readonly [number, number])[];
  /** False when the task has a journal: `restore` brings it, `begin` ends it. */
  readonly isNew: boolean;
  /** Where a task that never ran begins: `[logId, writer, sequence]`. */
  readonly startAt: readonly (readonly [number, number, number])[];
}

export type ToWorker =
  | { readonly kind: "start"; readonly task: TaskStart }
  | { readonly kind: "restore"; readonly task: string; readonly blocks: readonly Uint8Array[] }
  | { readonly kind: "begin"; readonly task: string }
  | { readonly kind: "block"; readonly task: string; readonly block: Uint8Array }
  | { readonly kind: "advance"; readonly task: string; readonly nowMs: number }
  | { readonly kind: "committed"; readonly task: string }
  | {
      readonly kind: "skip";
      readonly task: string;
      readonly logId: number;
      readonly writer: number;
      readonly fromSequence: number;
      readonly toSequence: number;
    }
  | { readonly kind: "stop" };

export type FromWorker =
  | { readonly kind: "loaded" }
  | {
      readonly kind: "ready";
      readonly task: string;
      readonly positions: readonly (readonly [number, number, number])[];
      readonly meta: CommitMeta;
      readonly keys: number;
      readonly stateBytes: number;
    }
  | {
      readonly kind: "commit";
      readonly task: string;
      readonly blocks: readonly Uint8Array[];
      readonly meta: CommitMeta;
      readonly journalSequence: number;
      readonly positions: readonly (readonly [number, number, number])[];
      readonly latestArrivalMs: number;
      readonly keys: number;
      readonly stateBytes: number;
      /** True when somebody waits for it: it holds effects or outputs. */
      readonly urgent: boolean;
    }
  | { readonly kind: "delivered"; readonly task: string; readonly byteLength: number }
  | {
      readonly kind: "log";
      readonly level: string;
      readonly message: string;
      readonly fields?: Readonly<Record<string, unknown>>;
      readonly function: string;
      readonly key: string;
    }
  | { readonly kind: "stopped" };
