/**
 * Asynchronous invocations of a task: concurrent across keys, in order per key, at most `concurrency` at once. Each has its own ledger, which
 * joins the task's only when it completes; a key that fails is put back to its last completed bytes.
 */
import type { EventBlockReader } from "../block/event-reader.ts";
import type { DecodedEvent } from "./decoded-event.ts";
import type { BlockDecoder } from "./decoder.ts";
import { isThenable, positionText } from "./failure.ts";
import { LedgerInvocation } from "./invocation.ts";
import type { Cell, KeyedState } from "./keyed-state.ts";
import { Ledger, type LedgerMark } from "./ledger.ts";
import { type ChannelPosition, Positions } from "./positions.ts";
import type { TaskHost, TaskInput, TaskSpec } from "./spec.ts";

/** The task, as far as asynchronous invocations know it. */
export interface AsyncHost {
  readonly spec: TaskSpec;
  readonly host: TaskHost;
  readonly state: KeyedState;
  readonly ledger: Ledger;
  processed: number;
  failed: number;
  /** Called after an invocation has ended and can be committed. */
  readonly onCompleted: (() => void) | undefined;
  /** The commit holds no more: nothing is started until it has been taken. */
  readonly isFull: boolean;
  decoderOf(inputIndex: number, reader: EventBlockReader): BlockDecoder;
  noteMoved(): void;
  applyTimers(mark: LedgerMark): void;
  reject(ledger: Ledger, input: TaskInput, reader: EventBlockReader, decoder: BlockDecoder): void;
  deadLetter(
    ledger: Ledger,
    input: TaskInput,
    payload: Uint8Array,
    event: DecodedEvent,
    position: string,
    error: unknown,
  ): void;
}

interface Waiting {
  readonly inputIndex: number;
  readonly event: DecodedEvent;
  readonly payload: Uint8Array;
  readonly position: ChannelPosition;
  readonly sequence: number;
}

export class AsyncRunner {
  readonly #task: AsyncHost;
  /** Events of busy keys, in order, by key. */
  readonly #byKey = new Map<string, Waiting[]>();
  /** Keys that may start as soon as there is room. */
  readonly #ready: Waiting[] = [];
  readonly #idle: (() => void)[] = [];
  #running = 0;
  #starting = false;
  /** Events taken and not ended. The host stops delivering when this is large. */
  pendingEvents = 0;

  constructor(task: AsyncHost) {
    this.#task = task;
  }

  deliver(inputIndex: number, reader: EventBlockReader, position: ChannelPosition): void {
    const task = this.#task;
    const input = task.spec.inputs[inputIndex];
    const decoder = task.decoderOf(inputIndex, reader);
    while (reader.next()) {
      const sequence = reader.sequence;
      if (Positions.isDone(position, sequence)) continue;
      if (reader.repeated || !decoder.isMine()) {
        this.#done(position, sequence, 0);
        continue;
      }
      const event = decoder.decode();
      if (!event) {
        task.reject(task.ledger, input, reader, decoder);
        this.#done(position, sequence, 1);
        continue;
      }
      this.#take({ inputIndex, event, payload: reader.payload, position, sequence });
    }
  }

  #take(waiting: Waiting): void {
    this.pendingEvents++;
    const queue = this.#byKey.get(waiting.event.key);
    if (queue) queue.push(waiting);
    else {
      this.#byKey.set(waiting.event.key, []);
      this.#ready.push(waiting);
      this.#startReady();
    }
  }

  /** A commit was taken: there is room again. */
  resume(): void {
    if (this.#ready.length > 0) this.#startReady();
  }

  #startReady(): void {
    // A handler that returns at once comes back here: the loop below goes on, and the stack stays flat.
    if (this.#starting) return;
    this.#starting = true;
    while (this.#running < this.#task.spec.concurrency && !this.#task.isFull) {
      const next = this.#ready.shift();
      if (!next) break;
      this.#running++;
      void this.#run(next);
    }
    this.#starting = false;
  }

  async #run(waiting: Waiting): Promise<void> {
    const task = this.#task;
    const { event, position, sequence, inputIndex } = waiting;
    const ledger = new Ledger();
    const invocation = new LedgerInvocation(task.spec, ledger);
    let cell: Cell | undefined;
    try {
      if (task.spec.initialState) {
        cell = task.state.open(event.key);
        cell.busy = true;
        if (task.state.isExpired(cell, event.arrivalTimeMs)) task.state.renew(cell);
      }
      const nowMs = task.host.nowMs();
      invocation.begin(event.key, event.device, nowMs, cell?.value, position.logId, position.writer, sequence);
      const result = task.spec.onEvent(event, invocation, inputIndex);
      if (isThenable(result)) await result;
      invocation.ended = true;
      if (cell) {
        cell.value = invocation.state;
        task.state.complete(cell);
      }
    } catch (error) {
      invocation.ended = true;
      ledger.cut({ byteLength: 0, outputs: 0, effects: 0, timers: 0 });
      if (cell) task.state.restore(cell);
      const input: TaskInput = task.spec.inputs[inputIndex];
      task.deadLetter(ledger, input, waiting.payload, event, positionText(position, sequence), error);
      task.failed++;
    }
    if (cell) cell.busy = false;
    const mark = task.ledger.mark();
    task.ledger.absorb(ledger);
    task.applyTimers(mark);
    this.#done(position, sequence, 1);
    this.#running--;
    this.pendingEvents--;
    this.#next(event.key);
    this.#startReady();
    task.onCompleted?.();
    if (this.#isStill) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #next(key: string): void {
    const queue = this.#byKey.get(key);
    const next = queue?.shift();
    if (next) this.#ready.push(next);
    else this.#byKey.delete(key);
  }

  /** Counts with the position, so that a commit never holds one without the other. */
  #done(position: ChannelPosition, sequence: number, processed: 0 | 1): void {
    Positions.done(position, sequence, sequence + 1);
    this.#task.processed += processed;
    this.#task.noteMoved();
  }

  /** Nothing goes on by itself: all has ended, or waits for a commit. */
  get #isStill(): boolean {
    return this.pendingEvents === 0 || (this.#running === 0 && this.#task.isFull);
  }

  idle(): Promise<void> {
    return this.#isStill ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}
