/**
 * Runs a Task: delivers blocks, takes commits when a turn ends, and keeps at most two of them on the way. The same for a worker thread and for the system tasks on the node's own thread.
 */
import { type PreparedCommit, type Task, windowEventsMax } from "@headrace/engine";

/** Commits on their way to the log; the next one grows meanwhile. */
const commitsInFlightMax = 2;
/** Asynchronous events under way above which delivery waits. */
const pendingEventsMax = 4096;
/** Longest work between two commits while input keeps coming. */
const commitAfterMs = 5;
/** A commit that nobody waits for is taken this much later, so that at low rates it serves many groups of input. */
const quietCommitMs = 10;

export interface RunnerOutput {
  commit(commit: PreparedCommit, urgent: boolean): void;
  delivered(byteLength: number): void;
  /** Whether somebody waits for what the next commit holds; default: when it holds outputs or effects. */
  isUrgent?(): boolean;
}

export class TaskRunner {
  readonly task: Task;
  readonly #output: RunnerOutput;
  readonly #inputOf: (block: Uint8Array) => number;
  #waiting: Uint8Array[] = [];
  #inFlight = 0;
  #commitAsked = false;
  #delivering = false;
  #quietTimer: NodeJS.Timeout | undefined;
  #advanceToMs = 0;
  #lastCommitMs = 0;
  latestArrivalMs = 0;

  constructor(task: Task, inputOf: (block: Uint8Array) => number, output: RunnerOutput) {
    this.task = task;
    this.#output = output;
    this.#inputOf = inputOf;
    task.onCompleted = () => {
      this.#deliverWaiting();
      this.#askCommit();
    };
  }

  deliver(block: Uint8Array): void {
    if (this.#waiting.length > 0 || this.#isFull || !this.#deliverNow(block)) this.#waiting.push(block);
    // Under load one turn of the event loop takes in block after block: a commit must not wait for its end.
    const pauseMs = this.#isUrgent ? commitAfterMs : quietCommitMs;
    if (performance.now() - this.#lastCommitMs > pauseMs) this.#commit();
    this.#askCommit();
  }

  /** Asynchronous events are bounded by their number and by the window above the low-water mark (DESIGN: positions). */
  get #isFull(): boolean {
    const { pendingEvents } = this.task;
    if (this.task.isFull) return true;
    return pendingEvents > pendingEventsMax || (pendingEvents > 0 && this.task.windowEvents > windowEventsMax);
  }
  get #isUrgent(): boolean {
    return this.task.isFull || (this.#output.isUrgent?.() ?? !this.task.ledger.isEmpty);
  }

  /** False: the commit is full, and the rest of the block waits for the next. */
  #deliverNow(block: Uint8Array): boolean {
    this.#delivering = true;
    const isDone = this.task.deliver(this.#inputOf(block), block);
    this.#delivering = false;
    const latestMs =
      new DataView(block.buffer, block.byteOffset).getUint32(48, true) +
      new DataView(block.buffer, block.byteOffset).getUint32(52, true) * 4294967296;
    if (latestMs > this.latestArrivalMs) this.latestArrivalMs = latestMs;
    if (isDone) this.#output.delivered(block.byteLength);
    return isDone;
  }

  #deliverWaiting(): void {
    // An asynchronous handler that ends at once says so from within its delivery.
    if (this.#delivering) return;
    while (this.#waiting.length > 0 && !this.#isFull) {
      if (!this.#deliverNow(this.#waiting[0])) return;
      this.#waiting.shift();
    }
  }

  /** All input up to `nowMs` has been handed over: timers that are due fire. */
  advance(nowMs: number): void {
    this.#advanceToMs = Math.max(this.#advanceToMs, nowMs);
    if (this.#waiting.length > 0) return;
    const more = this.task.advance(this.#advanceToMs);
    this.#askCommit();
    if (more) setImmediate(() => this.advance(this.#advanceToMs));
  }

  /** Records of an input that cannot be read any more count as consumed. */
  skip(logId: number, writer: number, fromSequence: number, toSequence: number): void {
    this.task.skip(logId, writer, fromSequence, toSequence);
    this.#askCommit();
  }

  /** A commit is durable. */
  committed(): void {
    this.#inFlight--;
    if (this.task.hasChanges) this.#askCommit();
  }

  #askCommit(): void {
    if (this.#commitAsked || !this.task.hasChanges) return;
    if (!this.#isUrgent) {
      this.#quietTimer ??= setTimeout(() => this.#commit(), quietCommitMs);
      return;
    }
    this.#commitAsked = true;
    setImmediate(() => {
      this.#commitAsked = false;
      this.#commit();
    });
  }

  #commit(): void {
    clearTimeout(this.#quietTimer);
    this.#quietTimer = undefined;
    if (this.#inFlight >= commitsInFlightMax) return;
    const urgent = this.#isUrgent;
    const commit = this.task.takeCommit();
    if (!commit) return;
    this.#lastCommitMs = performance.now();
    this.#inFlight++;
    this.#output.commit(commit, urgent);
    if (this.#waiting.length === 0) return;
    this.#deliverWaiting();
    this.#askCommit();
  }

  /** Waits for what is under way, then takes the last commit. */
  async drain(): Promise<void> {
    while (this.#waiting.length > 0 || this.task.pendingEvents > 0) {
      if (this.task.isFull) {
        // Bounds on what is on its way end where the task ends.
        this.#inFlight = 0;
        this.#commit();
      }
      await this.task.idle();
      this.#deliverWaiting();
    }
    this.#inFlight = 0;
    this.#commit();
  }
}
