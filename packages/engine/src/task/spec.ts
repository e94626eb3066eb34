/** What a task runs: one function or operator on one partition. The host (a worker, the node, or a test) gives it everything from outside. */
import type { StateDefinition, StreamDefinition } from "@headrace/sdk";
import type { Checksum } from "../block/crc32c.ts";

/** One stream that a task reads. */
export interface TaskInput {
  readonly stream: StreamDefinition;
  /** Ids of the logs of this partition, and of every partition of a derived stream. */
  readonly logIds: readonly number[];
  /** Parse the payload as JSON and check it against the schema; false hands the raw bytes on. */
  readonly decode: boolean;
  /** True for the one task of a stream that reports what it rejects. */
  readonly reportsRejected: boolean;
}

/** A stream that a task writes. */
export interface TaskOutput {
  readonly stream: string;
  readonly logId: number;
}

export interface TaskEvent {
  value: unknown;
  params: Readonly<Record<string, string>>;
  device: string;
  key: string;
  topic: string;
  timeMs: number;
  arrivalTimeMs: number;
  qos: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly cause?: string;
}

/** What a handler may do, in the engine's terms; everything is collected and leaves with the commit. */
export interface Invocation {
  readonly key: string;
  readonly device: string;
  /** Processing time of this invocation. */
  readonly nowMs: number;
  /** The key's state; undefined for a stateless task. An operator that sets it to undefined removes the key. */
  state: unknown;
  /** Names the event that is handled: `task/log/writer/sequence`; effects and outputs add their index. */
  readonly cause: string;
  emit(stream: string, value: unknown, key?: string, device?: string): void;
  /** As `emit`, for a payload that is JSON already. */
  emitEncoded(stream: string, payload: Uint8Array, key: string, device: string): void;
  effect(value: Effect): string;
  setTimer(name: string, dueMs: number): void;
  removeTimer(name: string): void;
  /** True once the invocation has ended: nothing may be done through it any more. */
  readonly ended: boolean;
}

/** What is owed to the outside world. The id is `function:partition:log:writer:sequence:index` and stays when it is sent again. */
export type Effect =
  | {
      readonly kind: "command";
      readonly device: string;
      readonly name: string;
      readonly args: unknown;
      readonly deadlineMs: number;
    }
  | {
      readonly kind: "alert.raise";
      readonly name: string;
      readonly severity: string;
      readonly details: Readonly<Record<string, unknown>>;
    }
  | { readonly kind: "alert.clear"; readonly name: string };

export interface TaskHandlers {
  /** Makes the state of a key that has none; absent: stateless. */
  readonly initialState?: () => unknown;
  /** Time to live and bounds in bytes as stored; absent: keys stay, 64 KiB per key, 512 MiB per task. */
  readonly stateLimits?: StateDefinition;
  /** True when a key is touched a few times in its life: its value is kept as bytes alone. */
  readonly isStateRarelyRead?: boolean;
  /** The key of state and order where it is not the event's own. */
  readonly stateKey?: (event: TaskEvent, input: number) => string;
  /** Handles one event; a thenable result makes the task asynchronous from then on. */
  readonly onEvent: (event: TaskEvent, invocation: Invocation, input: number) => unknown;
  /**
   * The one timer of a key where it follows from the key's state. Such timers are set and removed as any other, and are not journalled: a
   * recovery makes them again from the states.
   */
  readonly timerOf?: (state: unknown) => { readonly name: string; readonly dueMs: number } | undefined;
  readonly onTimer?: (name: string, dueMs: number, invocation: Invocation) => void;
}

export interface TaskSpec extends TaskHandlers {
  /** Stable name: `<function>/<partition>`. */
  readonly name: string;
  /** The function or operator, for messages. */
  readonly functionName: string;
  readonly partition: number;
  readonly partitions: number;
  readonly inputs: readonly TaskInput[];
  /** Every stream that it may write, rejected and dead-letters among them. */
  readonly outputs: readonly TaskOutput[];
  readonly effectsLogId: number;
  readonly journalLogId: number;
  /** Asynchronous invocations at once; 1 to 10,000. */
  readonly concurrency: number;
  /** True when the handler is known to be asynchronous. */
  readonly asynchronous: boolean;
}

/** The task's outside, injected (no ambient time, randomness or encoding). */
export interface TaskHost {
  nowMs(): number;
  readonly checksum: Checksum;
  /** Decodes UTF-8 of `bytes[start, end)`. */
  text(bytes: Uint8Array, start: number, end: number): string;
  /** Epoch to write with, from `Log.fence`. */
  readonly epoch: number;
}
