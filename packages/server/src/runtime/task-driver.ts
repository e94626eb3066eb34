/**
 * The node's side of a task: recovers it, hands it its input in order, appends its commits, wakes it for its timers. Input comes from the
 * group as it is written while the task keeps up, and from the log when it is behind; bytes on their way are bounded.
 */
import {
  type BlockHeader,
  type Channel,
  type CommitMeta,
  effectsLog,
  journalLog,
  readBlockHeader,
  roleOf,
  streamLog,
  type TaskPlan,
} from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import type { EmbeddedLog } from "../log/index.ts";
import type { FromWorker, TaskStart } from "./messages.ts";
import { chooseBase, journalBatches, type RecoveryBase, type Snapshots, snapshotFolder } from "./snapshots/index.ts";

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
  readonly plan: TaskPlan;
  readonly inputLogs: readonly string[];
  readonly snapshots: Snapshots;
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
  code === "HR_SNAPSHOT_CORRUPT" || code === "HR_SNAPSHOT_MISMATCH";

interface Cursor extends Channel {
  next: number;
}

export class TaskDriver {
  readonly plan: TaskPlan;
  readonly #options: DriverOptions;
  readonly #cursors = new Map<string, Cursor>();
  readonly #cancel: (() => void)[] = [];
  #port: TaskPort | undefined;
  #inputIds: number[] = [];
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

  /** Reads snapshot and journal and starts the task in `port`. */
  async start(port: TaskPort): Promise<void> {
    this.stop();
    const attempt = ++this.#starts;
    const { log, plan } = this.#options;
    const open = async (name: string): Promise<number> => (await log.open(name, roleOf(name))).id;
    this.#journalId = await open(journalLog(plan.name));
    this.#inputIds = await Promise.all(this.#options.inputLogs.map(open));
    const outputLogIds = await Promise.all(
      plan.outputs.map(async (stream) => [stream, await open(streamLog(stream, 0))] as const),
    );
    const effectsLogId = await open(effectsLog);
    const journal = { logId: this.#journalId, writer: this.#journalId };
    const epoch = await log.fence(journal);
    const base = await this.#chooseBase(journal);
    const written = [this.#journalId, effectsLogId, ...outputLogIds.map(([, logId]) => logId)];
    const ends = written.map((logId) => [logId, log.endSequence({ logId, writer: this.#journalId })] as const);
    for (const [logId] of ends)
      if (logId !== this.#journalId) await this.#fenceTo(epoch, { logId, writer: this.#journalId });
    const startAt = this.#inputIds.flatMap((logId) =>
      log.channels(logId).map(({ writer, endSequence }) => [logId, writer, endSequence] as const),
    );
    if (attempt !== this.#starts) return;
    this.#port = port;
    const journalEnd = log.endSequence(journal);
    const isNew = !base.snapshot && journalEnd === 0;
    // A task with a journal has begun long ago.
    if (!isNew || !this.#options.early) this.#begun.resolve();
    port.start({
      plan,
      epoch,
      inputLogIds: this.#inputIds,
      outputLogIds,
      effectsLogId,
      journalLogId: this.#journalId,
      ends,
      isNew,
      startAt,
    });
    if (!(await this.#restore(port, base, journal, journalEnd, attempt))) return;
    port.begin();
  }

  /** Hands over the snapshot and the journal behind it. False when the task was stopped meanwhile. */
  async #restore(
    port: TaskPort,
    { snapshot, journalFrom }: RecoveryBase,
    journal: Channel,
    journalEnd: number,
    attempt: number,
  ): Promise<boolean> {
    this.#snapshotBytes = snapshot?.header.fileBytes ?? 0;
    this.#journalBytes = 0;
    if (snapshot) port.restore(snapshot.blocks);
    try {
      const { log, plan } = this.#options;
      for await (const blocks of journalBatches(plan.name, journal, journalFrom, journalEnd, log, this.#journalGaps)) {
        if (attempt !== this.#starts) return false;
        for (const block of blocks) this.#journalBytes += block.byteLength;
        port.restore(blocks.map((block) => block.slice()));
      }
    } catch (error) {
      this.#stopFor(error);
      throw error;
    }
    return true;
  }

  /** @throws HR_SNAPSHOT_CORRUPT, HR_SNAPSHOT_MISMATCH: the task is `failed` and stays so */
  async #chooseBase(journal: Channel): Promise<RecoveryBase> {
    const { log, plan, snapshots } = this.#options;
    try {
      const folder = snapshotFolder(snapshots.folder, plan.name);
      const base = await chooseBase(folder, plan.name, journal, log, snapshots.files);
      for (const { path, reason } of base.damaged)
        process.emitWarning(`snapshot ${path} is damaged and passed over: ${reason}`);
      return base;
    } catch (error) {
      this.#stopFor(error);
      throw error;
    }
  }

  /** Stops the task for good when what it stored is damaged; any other error is for the caller. */
  #stopFor(error: unknown): void {
    if (!(error instanceof HeadraceError) || !isStorageFailure(error)) return;
    const { log, plan } = this.#options;
    this.state = "failed";
    this.failure = error;
    // What it has not read stays until somebody has seen to it.
    for (const logId of this.#inputIds)
      for (const { writer, startSequence } of log.channels(logId))
        log.hold(plan.name, { logId, writer }, startSequence);
    // A log that went backwards is nothing that a node goes on with; a damaged snapshot is.
    if (error.code === "HR_SNAPSHOT_MISMATCH") this.#begun.reject(error);
    else this.#begun.resolve();
  }

  /** Raises the epoch of an output channel to the journal's, so that a zombie is refused there as well. */
  async #fenceTo(epoch: number, channel: Channel): Promise<void> {
    while ((await this.#options.log.fence(channel)) < epoch);
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
      this.#options.onFailed(error);
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
    const { trigger } = this.#options.snapshots;
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
}
