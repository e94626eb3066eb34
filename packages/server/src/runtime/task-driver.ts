/**
 * The node's side of a task: recovers it, hands it its input in order, appends its commits, wakes it for its timers. Input comes from the
 * group as it is written while the task keeps up, and from the log when it is behind; bytes on their way are bounded.
 */
import {
  type BlockHeader,
  type Channel,
  type CommitMeta,
  type Lease,
  type Leases,
  readBlockHeader,
  type TaskPlan,
} from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import type { EmbeddedLog } from "../log/index.ts";
import type { FromWorker, TaskStart } from "./messages.ts";
import { journalBatches, type Snapshots, type SnapshotTrigger, snapshotFolder } from "./snapshots/index.ts";
import { type TakenOver, takeOver } from "./take-over.ts";

/** Where the task runs: a worker thread or this one. */
export interface TaskPort {
  start(task: TaskStart): void;
  /** Blocks of a snapshot, or of the journal behind it, in their order; their buffers are given away. */
  restore(blocks: readonly Uint8Array[]): void;
  /** Everything stored has been handed over: the task says where it stands. */
  begin(): void;
  block(block: Uint8Array): void;
  advance(nowMs: number): void;
  committed(): void;
  /** Records that cannot be read any more: they count as consumed. */
  skip(channel: Channel, fromSequence: number, toSequence: number): void;
}

export interface DriverOptions {
  readonly log: EmbeddedLog;
  /** Who may run the task; its epoch goes into everything that the task writes. */
  readonly leases: Leases;
  readonly plan: TaskPlan;
  readonly inputLogs: readonly string[];
  readonly snapshots: Snapshots;
  /** When snapshots are made; default: that of `snapshots`. */
  readonly snapshotTrigger?: SnapshotTrigger;
  /** Hands blocks over before they are durable; never for what acts on the outside. */
  readonly early: boolean;
  readonly onCommitted: (driver: TaskDriver) => void;
  /** The task cannot go on as it is: run it again from its journal. */
  readonly onFailed: (error: unknown) => void;
}

type CommitMessage = Extract<FromWorker, { kind: "commit" }>;

const bytesInFlightMax = 8 * 1024 * 1024;
const readBytes = 1024 * 1024;
/** A commit that nobody waits for lets the next input group carry it. */
const quietLingerMs = 4;

const isStorageFailure = ({ code }: HeadraceError): boolean =>
  code === "HR_SNAPSHOT_CORRUPT" || code === "HR_SNAPSHOT_MISMATCH" || code === "HR_BLOCK_CORRUPT";

interface Cursor extends Channel {
  next: number;
}

export class TaskDriver {
  readonly plan: TaskPlan;
  readonly #options: DriverOptions;
  readonly #cursors = new Map<string, Cursor>();
  readonly #cancel: (() => void)[] = [];
  #port: TaskPort | undefined;
  #lease: Lease | undefined;
  #inputIds: readonly number[] = [];
  #journalId = 0;
  #ready = false;
  #behind = true;
  #pumping = false;
  #bytesInFlight = 0;
  /** Blocks that are written and not durable yet, for a task that may not start early. */
  #held: Uint8Array[] = [];
  #starts = 0;
  readonly #appending = new Set<Promise<void>>();
  readonly #begun = Promise.withResolvers<void>();
  state: "running" | "restarting" | "failed" = "restarting";
  meta: CommitMeta = { timeMs: 0, processed: 0, nextTimerMs: 0, failed: 0 };
  /** Committed low-water marks by `logId/writer`. */
  committed = new Map<string, number>();
  latestArrivalMs = 0;
  keys = 0;
  stateBytes = 0;
  /** Journal bytes behind the newest snapshot, and the bytes of that snapshot. */
  #journalBytes = 0;
  #snapshotBytes = 0;
  #compacting = false;
  /** Why the task does not run. */
  failure: HeadraceError | undefined;

  constructor(options: DriverOptions) {
    this.#options = options;
    this.plan = options.plan;
  }

  /** Takes the task over, reads snapshot and journal and starts it in `port`. A later start, or a stop, ends this one silently. */
  async start(port: TaskPort): Promise<void> {
    this.stop();
    const attempt = this.#starts;
    const isCurrent = (): boolean => attempt === this.#starts;
    try {
      const taken = await takeOver(this.#options, isCurrent);
      if (!taken || !isCurrent()) {
        if (taken) await this.#options.leases.release(taken.lease);
        return;
      }
      if (await this.#run(port, taken, isCurrent)) port.begin();
    } catch (error) {
      // What a start that nobody waits for meets is not the task's: it may be the fence of the one that came after.
      if (!isCurrent()) return;
      this.#stopFor(error);
      throw error;
    }
  }

  /** Starts the task and hands over what was stored. False when the task was stopped meanwhile. */
  async #run(port: TaskPort, taken: TakenOver, isCurrent: () => boolean): Promise<boolean> {
    const { log, plan, early } = this.#options;
    const { journal, base, journalEnd } = taken;
    this.#port = port;
    this.#lease = taken.lease;
    this.#journalId = journal.logId;
    this.#inputIds = taken.inputLogIds;
    this.#snapshotBytes = base.snapshot?.header.fileBytes ?? 0;
    this.#journalBytes = 0;
    const isNew = !base.snapshot && journalEnd === 0;
    // A task with a journal has begun long ago.
    if (!isNew || !early) this.#begun.resolve();
    port.start({
      plan,
      epoch: taken.lease.epoch,
      inputLogIds: taken.inputLogIds,
      outputLogIds: taken.outputLogIds,
      effectsLogId: taken.effectsLogId,
      journalLogId: journal.logId,
      ends: taken.ends,
      isNew,
      startAt: taken.startAt,
    });
    if (base.snapshot) port.restore(base.snapshot.blocks);
    const batches = journalBatches(plan.name, journal, base.journalFrom, journalEnd, log, this.#journalGaps);
    for await (const blocks of batches) {
      if (!isCurrent()) return false;
      for (const block of blocks) this.#journalBytes += block.byteLength;
      port.restore(blocks.map((block) => block.slice()));
    }
    return isCurrent();
  }

  /** Stops the task for good when what it stored is damaged; any other error is for the caller. */
  #stopFor(error: unknown): void {
    if (!(error instanceof HeadraceError) || !isStorageFailure(error)) return;
    const { log, plan, inputLogs } = this.#options;
    this.state = "failed";
    this.failure = error;
    this.#ready = false;
    for (const cancel of this.#cancel.splice(0)) cancel();
    // What it has not read stays until somebody has seen to it.
    for (const { id: logId } of inputLogs.flatMap((name) => log.list(name).filter((info) => info.name === name)))
      for (const { writer, startSequence } of log.channels(logId))
        log.hold(plan.name, { logId, writer }, startSequence);
    // A log that went backwards is nothing that a node goes on with; a damaged snapshot is.
    if (error.code === "HR_SNAPSHOT_MISMATCH") this.#begun.reject(error);
    else this.#begun.resolve();
  }

  /** The task has recovered and tells where it stands. */
  ready(message: Extract<FromWorker, { kind: "ready" }>): void {
    this.meta = message.meta;
    this.keys = message.keys;
    this.stateBytes = message.stateBytes;
    this.#setCommitted(message.positions);
    for (const [logId, writer, next] of message.positions)
      this.#cursors.set(`${logId}/${writer}`, { logId, writer, next });
    this.#ready = true;
    this.#behind = true;
    this.state = "running";
    const { log, early } = this.#options;
    for (const logId of this.#inputIds) {
      this.#cancel.push(log.watchEarly(logId, (block, header) => this.#offer(block, header)));
      if (!early) this.#cancel.push(log.watch(logId, () => this.#handOver()));
    }
    void this.#pump();
    this.#maybeCompact(log.endSequence({ logId: this.#journalId, writer: this.#journalId }) - 1);
  }

  #cursor(channel: Channel): Cursor {
    const name = `${channel.logId}/${channel.writer}`;
    let cursor = this.#cursors.get(name);
    if (!cursor) {
      cursor = { logId: channel.logId, writer: channel.writer, next: 0 };
      this.#cursors.set(name, cursor);
    }
    return cursor;
  }

  /** Whether it gets blocks before they are durable. */
  get startsEarly(): boolean {
    return this.#options.early;
  }

  /** Settles once the place where the task begins is durable: only then may its input be acknowledged. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  /** Takes a block as it is written, if the task is just there; otherwise it will be read from the log. */
  #offer(block: Uint8Array, header: BlockHeader): void {
    const cursor = this.#cursor(header);
    if (this.#behind || this.#pumping || cursor.next !== header.sequence || this.#bytesInFlight > bytesInFlightMax) {
      this.#behind = true;
      if (!this.#pumping) setImmediate(() => void this.#pump());
      return;
    }
    if (this.#options.early) this.#push(cursor, block.slice(), header);
    else {
      cursor.next = header.sequence + header.recordCount;
      this.#bytesInFlight += block.byteLength;
      this.#held.push(block.slice());
    }
  }

  /** What was held is durable. */
  #handOver(): void {
    for (const block of this.#held.splice(0)) this.#port?.block(block);
    // Blocks that came while the task was behind, or from before it watched.
    if (this.#behind && !this.#pumping) void this.#pump();
  }

  #push(cursor: Cursor, block: Uint8Array, header: BlockHeader): void {
    cursor.next = header.sequence + header.recordCount;
    this.#bytesInFlight += block.byteLength;
    this.#port?.block(block);
  }

  /** Hands over from the log until the task is at its end or has enough. */
  async #pump(): Promise<void> {
    if (this.#pumping || !this.#ready) return;
    this.#pumping = true;
    const attempt = this.#starts;
    try {
      for (;;) {
        const behind = this.#furthestBehind();
        if (!behind) {
          // A group that is written and not durable yet can hold what was passed over, and is not in the log's index before.
          const { underWay } = this.#options.log;
          if (underWay) {
            await underWay;
            if (attempt !== this.#starts) return;
            continue;
          }
          this.#behind = false;
          return;
        }
        if (this.#bytesInFlight > bytesInFlightMax) return;
        const blocks = await this.#options.log.read(behind, behind.next, readBytes);
        if (attempt !== this.#starts) return;
        for (const block of blocks) {
          const header = readBlockHeader(block);
          if (header.sequence > behind.next) this.#skip(behind, header.sequence);
          this.#push(behind, block, header);
        }
        if (blocks.length === 0) return;
      }
    } catch (error) {
      if (attempt !== this.#starts) return;
      this.#stopFor(error);
      // Damage in its input stops this task alone: to start it again would find the same.
      if (this.state !== "failed") this.#options.onFailed(error);
      else process.emitWarning(`${this.plan.name} has stopped: ${String(error)}`);
    } finally {
      this.#pumping = false;
    }
  }

  /** Passes over records that retention has removed, or that are lost and given up. @throws HR_BLOCK_CORRUPT for any other hole */
  #skip(cursor: Cursor, toSequence: number): void {
    const { log } = this.#options;
    const { logId, writer, next } = cursor;
    const start = log.channels(logId).find((channel) => channel.writer === writer)?.startSequence ?? 0;
    let at = Math.max(next, Math.min(start, toSequence));
    for (const gap of log.gaps())
      if (gap.logId === logId && gap.writer === writer && gap.fromSequence <= at) at = Math.max(at, gap.toSequence);
    if (at < toSequence) {
      throw new HeadraceError(
        "HR_BLOCK_CORRUPT",
        `${this.plan.name} finds no records ${at} to ${toSequence - 1} of log ${logId}, writer ${writer}`,
      );
    }
    this.#port?.skip(cursor, next, toSequence);
    cursor.next = toSequence;
  }

  #furthestBehind(): Cursor | undefined {
    for (const logId of this.#inputIds) {
      for (const channel of this.#options.log.channels(logId)) {
        const cursor = this.#cursor(channel);
        if (cursor.next < channel.startSequence) this.#skip(cursor, channel.startSequence);
        if (cursor.next < channel.endSequence) return cursor;
      }
    }
    return undefined;
  }

  delivered(byteLength: number): void {
    this.#bytesInFlight -= byteLength;
    if (this.#behind && this.#bytesInFlight <= bytesInFlightMax / 2) void this.#pump();
  }

  /** Appends a commit; the task learns when it is durable. */
  commit(message: CommitMessage): void {
    const attempt = this.#starts;
    let journalBytes = 0;
    for (const block of message.blocks)
      if (readBlockHeader(block).logId === this.#journalId) journalBytes += block.byteLength;
    const appended = this.#options.log.append(message.blocks, message.urgent ? 0 : quietLingerMs).then(
      () => {
        if (attempt !== this.#starts) return;
        this.meta = message.meta;
        this.keys = message.keys;
        this.stateBytes = message.stateBytes;
        this.latestArrivalMs = message.latestArrivalMs;
        this.#setCommitted(message.positions);
        this.#begun.resolve();
        this.#port?.committed();
        this.#options.onCommitted(this);
        this.#journalBytes += journalBytes;
        this.#maybeCompact(message.journalSequence);
      },
      (error) => {
        if (attempt === this.#starts) this.#options.onFailed(error);
      },
    );
    this.#appending.add(appended);
    void appended.finally(() => this.#appending.delete(appended));
  }

  /** Settles when every commit that was handed over is durable or refused. */
  async settled(): Promise<void> {
    await Promise.all(this.#appending);
  }

  #setCommitted(positions: readonly (readonly [number, number, number])[]): void {
    for (const [logId, writer, low] of positions) {
      this.committed.set(`${logId}/${writer}`, low);
      this.#options.log.hold(this.plan.name, { logId, writer }, low);
    }
  }

  /** Has the next snapshot made once the journal has outgrown the last; `toSequence` ends a durable commit. */
  #maybeCompact(toSequence: number): void {
    const trigger = this.#options.snapshotTrigger ?? this.#options.snapshots.trigger;
    if (
      this.#compacting ||
      this.#journalBytes < Math.max(trigger.journalBytesMin, trigger.factor * this.#snapshotBytes)
    )
      return;
    this.#compacting = true;
    void this.#compact(toSequence).finally(() => {
      this.#compacting = false;
    });
  }

  /** Commits that are lost, and that an operator has agreed to go on without. */
  get #journalGaps(): (readonly [number, number])[] {
    return this.#options.log
      .gaps()
      .filter(({ logId }) => logId === this.#journalId)
      .map(({ fromSequence, toSequence }) => [fromSequence, toSequence] as const);
  }

  async #compact(toSequence: number): Promise<void> {
    const { log, plan, snapshots } = this.#options;
    const taken = this.#journalBytes;
    const positions = [...this.committed];
    const attempt = this.#starts;
    try {
      const folder = snapshotFolder(snapshots.folder, plan.name);
      const gaps = this.#journalGaps;
      const request = { folder, journalLogId: this.#journalId, toSequence, ...(gaps.length > 0 && { gaps }) };
      const { header, baseSequence } = await snapshots.compact(request);
      if (attempt === this.#starts) {
        this.#snapshotBytes = header.fileBytes;
        this.#journalBytes -= taken;
      }
      // The block of the older snapshot itself stays: the start compares it (S17).
      if (baseSequence === undefined) return;
      log.trim({ logId: this.#journalId, writer: this.#journalId }, baseSequence);
      if (this.#options.early) return;
      for (const [channel, low] of positions) {
        const [logId, writer] = channel.split("/").map(Number);
        if (this.#isEffects(logId)) log.trim({ logId, writer }, low);
      }
    } catch (error) {
      // The journal stays until a snapshot holds what is in it, and the next one is tried when it has grown as much again.
      if (attempt === this.#starts) this.#journalBytes = 0;
      if ((error as HeadraceError).code !== "HR_UNAVAILABLE")
        process.emitWarning(`the snapshot of ${plan.name} could not be made: ${String(error)}`);
    }
  }
  #isEffects(logId: number): boolean {
    return this.#options.log.list("effects/").some((info) => info.id === logId);
  }

  /** Fires timers up to `nowMs`, or up to the input that the task has when it is behind. */
  advance(nowMs: number): void {
    if (this.#ready) this.#port?.advance(this.#behind ? Math.min(nowMs, this.latestArrivalMs) : nowMs);
  }

  /** Events that are stored and not yet committed by this task. */
  get lagEvents(): number {
    let lag = 0;
    for (const logId of this.#inputIds) {
      for (const { writer, endSequence } of this.#options.log.channels(logId))
        lag += endSequence - (this.committed.get(`${logId}/${writer}`) ?? 0);
    }
    return lag;
  }

  stop(): void {
    this.#starts++;
    this.#ready = false;
    this.#port = undefined;
    this.#bytesInFlight = 0;
    this.#held = [];
    this.#cursors.clear();
    for (const cancel of this.#cancel.splice(0)) cancel();
    this.state = "restarting";
    this.failure = undefined;
  }

  /** Lets go of the task for good, behind its last commits, so that the next owner need not wait. */
  async close(): Promise<void> {
    await this.settled();
    this.stop();
    if (this.#lease) await this.#options.leases.release(this.#lease);
    this.#lease = undefined;
  }
}
