/**
 * A task: one function or operator on one partition (DESIGN: exactly-once, precisely). Pure: blocks go in, the blocks of commits come out.
 *
 * Synchronous handlers run a block as one optimistic batch; if one throws, the batch is dropped, its keys are put back and it runs again
 * carefully, event by event. Asynchronous handlers run concurrently across keys and in order per key (async-runner.ts).
 */
import { systemStreams } from "@headrace/sdk";
import { EventBlockReader } from "../block/event-reader.ts";
import { JsonDecoder } from "../value/json-decoder.ts";
import { type AsyncHost, AsyncRunner } from "./async-runner.ts";
import { CommitBuilder } from "./commit-builder.ts";
import { type CommitMeta, decodeCommit, type TimerChange } from "./commit-format.ts";
import type { DecodedEvent } from "./decoded-event.ts";
import { BlockDecoder } from "./decoder.ts";
import { describeError, failureJson, isThenable, jsonView, positionText } from "./failure.ts";
import { LedgerInvocation } from "./invocation.ts";
import { encodeJson } from "./json-text.ts";
import { type Cell, KeyedState } from "./keyed-state.ts";
import { commitBytesMax, Ledger, type LedgerMark } from "./ledger.ts";
import { type ChannelPosition, Positions } from "./positions.ts";
import type { TaskHost, TaskInput, TaskSpec } from "./spec.ts";
import { Timers } from "./timers.ts";
import { TopicParams } from "./topic-params.ts";

/** A commit as the host appends it. */
export interface PreparedCommit {
  readonly blocks: Uint8Array[];
  /** Sequence of its last journal block. */
  readonly journalSequence: number;
  readonly meta: CommitMeta;
}

/** A number: the batch was closed before the event of that sequence, because a commit holds no more. */
type BatchResult = "done" | "failed" | "asynchronous" | number;

export class Task implements AsyncHost {
  readonly spec: TaskSpec;
  readonly host: TaskHost;
  readonly state: KeyedState;
  readonly positions = new Positions();
  readonly timers = new Timers();
  readonly ledger = new Ledger();
  #builder: CommitBuilder | undefined;
  #invocation: LedgerInvocation;
  #async: AsyncRunner | undefined;
  readonly #json: readonly JsonDecoder[];
  readonly #topics: readonly TopicParams[];
  #batch = 0;
  #moved = false;
  /** Removals of timers that the journal need not hold any more. */
  #staleTimers: TimerChange[] = [];
  /** Events consumed so far, and those whose handler failed; both part of every commit. */
  processed = 0;
  failed = 0;

  constructor(spec: TaskSpec, host: TaskHost) {
    this.spec = spec;
    this.host = host;
    this.state = new KeyedState(spec.initialState, spec.stateLimits, spec.isStateRarelyRead);
    this.#invocation = new LedgerInvocation(spec, this.ledger);
    this.#json = spec.inputs.map(() => new JsonDecoder(host.text));
    this.#topics = spec.inputs.map(({ stream }) => new TopicParams(stream.sources));
    if (spec.asynchronous) this.#async = new AsyncRunner(this);
  }

  // Recovery: newest snapshot, then the journal behind it, then input from the position.

  /** Takes a snapshot's or a commit's block; in order of their sequence. */
  restore(block: Uint8Array): void {
    const commit = decodeCommit(block);
    for (const { key, bytes, touchedMs } of commit.state) this.state.load(key, bytes, touchedMs);
    for (const { key, name, dueMs } of commit.timers) {
      if (dueMs === undefined) this.timers.remove(key, name);
      else this.timers.set(key, name, dueMs);
    }
    if (commit.positions.length > 0 || commit.meta.timeMs > 0) {
      this.positions.restore(commit.positions);
      this.processed = commit.meta.processed;
      this.failed = commit.meta.failed;
    }
  }

  /** Ends the recovery. @param ends next sequence of each log that the task writes, by log id */
  begin(ends: ReadonlyMap<number, number>): void {
    this.#builder = new CommitBuilder(this.spec, this.host, ends);
    this.#deriveTimers();
  }

  /** Timers that follow from the states are made again from them; what a journal of an earlier version holds of them is removed there. */
  #deriveTimers(): void {
    const { timerOf } = this.spec;
    if (!timerOf) return;
    for (const { key, name } of this.timers.all()) {
      this.timers.remove(key, name);
      this.#staleTimers.push({ key, name, dueMs: undefined });
    }
    for (const { key } of this.state.entries()) {
      const timer = timerOf(this.state.peek(key));
      if (timer) this.timers.set(key, timer.name, timer.dueMs);
    }
  }

  // Work.

  /**
   * Handles the events of one block of an input; blocks of a channel come in order. False: the commit is full ({@link isFull}), and the same
   * block is to be delivered again behind {@link takeCommit}; what was done of it is passed over.
   */
  deliver(inputIndex: number, block: Uint8Array): boolean {
    const reader = new EventBlockReader(block);
    const { header } = reader;
    const position = this.positions.channel(header.logId, header.writer);
    const end = header.sequence + header.recordCount;
    if (end <= position.low) return true;
    if (this.#async) {
      this.#async.deliver(inputIndex, reader, position);
      return true;
    }
    let result = this.#runBatch(inputIndex, reader, position, false);
    if (result === "failed") result = this.#runBatch(inputIndex, new EventBlockReader(block), position, true);
    if (result === "asynchronous") {
      this.#async = new AsyncRunner(this);
      this.#async.deliver(inputIndex, new EventBlockReader(block), position);
      return true;
    }
    const done = typeof result === "number" ? result : end;
    Positions.done(position, header.sequence, done);
    this.#moved = true;
    return done === end;
  }

  /** The next commit holds as much as one should: it is to be taken before more is delivered. */
  get isFull(): boolean {
    return this.ledger.byteLength + this.state.dirtyBytes > commitBytesMax;
  }

  /** Counts records of an input as consumed that nobody can read any more: trimmed before they were, or lost and given up. */
  skip(logId: number, writer: number, fromSequence: number, toSequence: number): void {
    Positions.done(this.positions.channel(logId, writer), fromSequence, toSequence);
    this.#moved = true;
  }

  #runBatch(inputIndex: number, reader: EventBlockReader, position: ChannelPosition, careful: boolean): BatchResult {
    const input = this.spec.inputs[inputIndex];
    const { header } = reader;
    const { onEvent, initialState, stateKey } = this.spec;
    const invocation = this.#invocation;
    const decoder = this.decoderOf(inputIndex, reader);
    const cells: (Cell | undefined)[] = [];
    const touched: Cell[] = [];
    const batch = ++this.#batch;
    const mark = this.ledger.mark();
    const nowMs = this.host.nowMs();
    let processed = 0;
    let failed = 0;
    // States are encoded at the end: what they were tells how large they will be.
    let touchedBytes = this.state.dirtyBytes;
    let closedAt: number | undefined;
    while (reader.next()) {
      const sequence = reader.sequence;
      if (this.ledger.byteLength + touchedBytes > commitBytesMax && processed > 0) {
        closedAt = sequence;
        break;
      }
      if (reader.repeated || Positions.isDone(position, sequence) || !decoder.isMine()) continue;
      processed++;
      const event = decoder.decode();
      if (!event) {
        this.reject(this.ledger, input, reader, decoder);
        continue;
      }
      let cell: Cell | undefined;
      const key = stateKey ? stateKey(event, inputIndex) : event.key;
      const before = careful ? this.ledger.mark() : undefined;
      try {
        if (initialState) {
          cell = stateKey ? undefined : cells[reader.keyIndex];
          if (!cell?.live) {
            cell = this.state.open(key);
            cells[reader.keyIndex] = cell;
          }
          if (cell.value === undefined) this.state.renew(cell);
          if (cell.batch !== batch) {
            if (this.state.isExpired(cell, event.arrivalTimeMs)) this.state.renew(cell);
            cell.batch = batch;
            touched.push(cell);
            if (cell.bytes) touchedBytes += cell.bytes.byteLength;
          }
        }
        invocation.begin(key, event.device, nowMs, cell?.value, header.logId, header.writer, sequence);
        const result = onEvent(event, invocation, inputIndex);
        invocation.ended = true;
        if (isThenable(result)) {
          result.then(undefined, () => undefined);
          this.#invocation = new LedgerInvocation(this.spec, this.ledger);
          if (before) {
            // Every event before this one is complete by itself: it stays, and only the rest is run again.
            if (cell) this.state.restore(cell);
            this.ledger.cut(before);
            Positions.done(position, header.sequence, sequence);
            this.#finish(mark, processed - 1, failed);
          } else this.#drop(mark, touched);
          return "asynchronous";
        }
        if (cell) cell.value = invocation.state;
        if (cell && careful) this.state.complete(cell);
      } catch (error) {
        invocation.ended = true;
        if (!before) {
          this.#drop(mark, touched);
          return "failed";
        }
        if (cell) this.state.restore(cell);
        this.ledger.cut(before);
        this.deadLetter(this.ledger, input, reader.payload, event, positionText(header, sequence), error);
        failed++;
      }
    }
    if (!careful) {
      try {
        this.state.completeAll(touched);
      } catch {
        // Which event broke the state shows when each is completed by itself.
        this.#drop(mark, touched);
        return "failed";
      }
    }
    this.#finish(mark, processed, failed);
    return closedAt ?? "done";
  }

  #finish(mark: LedgerMark, processed: number, failed: number): void {
    this.applyTimers(mark);
    this.processed += processed;
    this.failed += failed;
    this.#moved = true;
  }

  decoderOf(inputIndex: number, reader: EventBlockReader): BlockDecoder {
    return new BlockDecoder(
      reader,
      this.spec.inputs[inputIndex],
      this.spec,
      this.#json[inputIndex],
      this.#topics[inputIndex],
    );
  }

  /** Forgets what an optimistic batch did: its keys go back to what they were before it. */
  #drop(mark: LedgerMark, touched: readonly Cell[]): void {
    this.ledger.cut(mark);
    for (const cell of touched) this.state.restore(cell);
  }

  /** When {@link advance} has something to do: a timer, or a key whose time to live is over. */
  get nextDueMs(): number | undefined {
    const timerMs = this.timers.nextMs;
    const expiryMs = this.state.nextExpiryMs;
    if (timerMs === undefined || expiryMs === undefined) return timerMs ?? expiryMs;
    return Math.min(timerMs, expiryMs);
  }

  /** Fires the timers that are due and removes the keys whose time to live is over. `nowMs` says that all input up to then has been delivered. Bounded: returns true when more are due. */
  advance(nowMs: number, timersMax = 1000): boolean {
    const { onTimer } = this.spec;
    for (let fired = 0; fired < timersMax; fired++) {
      const timer = this.timers.takeDue(nowMs);
      if (!timer) {
        if (!this.state.expireNext(nowMs)) return false;
        this.#moved = true;
        continue;
      }
      this.#moved = true;
      const mark = this.ledger.mark();
      this.ledger.timers.push({ key: timer.key, name: timer.name, dueMs: undefined });
      if (!onTimer) continue;
      const cell = this.state.open(timer.key);
      const invocation = this.#invocation;
      invocation.begin(timer.key, timer.key, nowMs, cell.value, this.spec.journalLogId, 0, timer.dueMs);
      try {
        onTimer(timer.name, timer.dueMs, invocation);
        cell.value = invocation.state;
        this.state.complete(cell);
      } catch (error) {
        this.state.restore(cell);
        this.ledger.cut({ ...mark, timers: mark.timers + 1 });
        this.failed++;
        this.ledger.output({
          stream: systemStreams.deadLetters,
          key: timer.key,
          device: timer.key,
          payload: encodeJson({
            function: this.spec.functionName,
            error: describeError(error),
            timer: timer.name,
            dueMs: timer.dueMs,
            attempts: 1,
          }),
          cause: invocation.cause,
        });
      }
      invocation.ended = true;
      this.applyTimers({ ...mark, timers: mark.timers + 1 });
    }
    return (this.nextDueMs ?? Number.POSITIVE_INFINITY) <= nowMs;
  }

  /** Puts the timer changes behind `mark` into effect. */
  applyTimers(mark: LedgerMark): void {
    for (let at = mark.timers; at < this.ledger.timers.length; at++) {
      const { key, name, dueMs } = this.ledger.timers[at];
      if (dueMs === undefined) this.timers.remove(key, name);
      else this.timers.set(key, name, dueMs);
    }
  }

  /** True while asynchronous invocations are under way or wait. */
  get pendingEvents(): number {
    return this.#async?.pendingEvents ?? 0;
  }
  /** Distance between the low-water mark and the last event that is done above it, over all channels. */
  get windowEvents(): number {
    let window = 0;
    for (const { low, runs } of this.positions.all()) window = Math.max(window, (runs.at(-1)?.[1] ?? low) - low);
    return window;
  }
  /** Settles when no invocation is under way. */
  idle(): Promise<void> {
    return this.#async?.idle() ?? Promise.resolve();
  }
  /** Called by the asynchronous runner when an invocation has ended and something can be committed. */
  onCompleted: (() => void) | undefined;
  noteMoved(): void {
    this.#moved = true;
  }

  // Failures.

  reject(ledger: Ledger, input: TaskInput, reader: EventBlockReader, decoder: BlockDecoder): void {
    if (!input.reportsRejected || !decoder.rejection) return;
    const position = positionText(reader.header, reader.sequence);
    ledger.output({
      stream: systemStreams.rejected,
      key: reader.key,
      device: reader.key,
      payload: failureJson(
        { stream: input.stream.name, ...decoder.rejection, topic: reader.topic, position },
        reader.payload,
      ),
      cause: `${this.spec.name}/${position}`,
    });
  }

  deadLetter(
    ledger: Ledger,
    input: TaskInput,
    payload: Uint8Array,
    event: DecodedEvent,
    position: string,
    error: unknown,
  ): void {
    // A handler of dead letters that fails would be given its own letter again, for ever. It is counted.
    if (input.stream.name === systemStreams.deadLetters) return;
    const { functionName, initialState } = this.spec;
    const letter = failureJson(
      {
        function: functionName,
        stream: input.stream.name,
        error: describeError(error),
        topic: event.topic,
        attempts: 1,
        position,
      },
      payload,
      () => (initialState ? { stateBefore: jsonView(this.state.peek(event.key) ?? initialState()) } : {}),
    );
    ledger.output({
      stream: systemStreams.deadLetters,
      key: event.key,
      device: event.device,
      payload: letter,
      cause: `${this.spec.name}/${position}`,
    });
  }

  // Commit.

  get hasChanges(): boolean {
    return this.#moved || this.state.hasDirty || !this.ledger.isEmpty;
  }

  /** Everything since the last call as one atomic append; undefined when nothing has changed. */
  takeCommit(): PreparedCommit | undefined {
    if (!this.hasChanges || !this.#builder) return undefined;
    const timeMs = Math.max(1, Math.floor(this.host.nowMs()));
    const dirty = this.state.takeDirty(timeMs);
    const meta = this.#meta(timeMs);
    const state = dirty.map((cell) => ({ key: cell.key, bytes: cell.bytes }));
    const { outputs, effects, timers } = this.ledger.take();
    const blocks = this.#builder.build({
      outputs,
      effects,
      timers: this.spec.timerOf ? this.#staleTimers : timers,
      positions: this.positions.all(),
      state,
      meta,
    });
    this.#staleTimers = [];
    this.#moved = false;
    this.#async?.resume();
    return { blocks, journalSequence: this.#builder.journalSequence - 1, meta };
  }

  #meta(timeMs: number): CommitMeta {
    return {
      timeMs,
      processed: this.processed,
      nextTimerMs: this.nextDueMs ?? 0,
      failed: this.failed,
    };
  }
}
