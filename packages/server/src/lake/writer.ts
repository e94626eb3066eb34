/**
 * Follows the logs of all streams into the store. It reads only as fast as it writes: a tail that is full goes to a file before
 * the next block is read. With nothing new it costs nothing but one timer an hour.
 */
import { HeadraceError } from "@headrace/sdk";
import type { RemoteLog } from "../log/index.ts";
import { viewOf } from "./columns.ts";
import type { LakeStats, LakeStream, TrimmableChannel } from "./options.ts";
import { hourMs } from "./row-source.ts";
import type { LakeStore } from "./store.ts";
import { StreamTail, type TailLog } from "./tail.ts";

/** Bytes asked of the log at once. */
const readBytes = 2 * 1024 * 1024;
/** Blocks in memory over all streams; at this bound the largest tail goes to a file. */
const bufferedBytesMax = 96 * 1024 * 1024;
/** After a notice of the log it waits so long before it reads, so that a busy log is asked a few times a second and not once per group. */
const followDelayMs = 200;

export interface WriterOptions {
  readonly streams: readonly LakeStream[];
  readonly flushRows: number;
  readonly flushIntervalMs: number;
  /** Called after each change. */
  readonly report: (stats: LakeStats) => void;
  readonly trimmable: (channels: readonly TrimmableChannel[]) => void;
  /** The lake can go on no more. */
  readonly fail: (error: unknown) => void;
}

export class LakeWriter {
  readonly #log: RemoteLog;
  readonly #store: LakeStore;
  readonly #options: WriterOptions;
  readonly #tails: StreamTail[];
  #queue: Promise<unknown> = Promise.resolve();
  #flushTimer: NodeJS.Timeout | undefined;
  #maintainTimer: NodeJS.Timeout | undefined;
  readonly #followTimers = new Set<NodeJS.Timeout>();
  #closed = false;
  /** Logs whose damage has been told. */
  readonly #damaged = new Set<number>();

  constructor(log: RemoteLog, store: LakeStore, options: WriterOptions) {
    this.#log = log;
    this.#store = store;
    this.#options = options;
    this.#tails = options.streams.map((stream) => new StreamTail(stream));
  }

  /** Opens the logs, says what is durable already, and starts to follow. */
  async start(): Promise<void> {
    for (const tail of this.#tails) {
      for (let partition = 0; partition < tail.stream.partitions; partition++) {
        const info = await this.#log.open(`stream/${tail.stream.name}/${partition}`, "stream");
        const log: TailLog = { info, partition, channels: new Map() };
        tail.logs.push(log);
        this.#reportTrimmable([tail]);
        this.#follow(tail, log);
      }
    }
    this.#scheduleMaintenance(1000);
    this.#report();
  }

  /** Reads what the logs hold now and puts it into files. */
  flush(): Promise<void> {
    return this.#exclusively(async () => {
      for (const tail of this.#tails) await this.#catchUp(tail, tail.logs);
      await this.#flush(this.#tails);
    });
  }

  /**
   * Makes everything that is durable in the logs of the streams that `sql` names readable, and keeps those files until {@link endQuery}.
   * Returns the statements that make the views. A name counts wherever it stands as a word: too many views do no harm.
   */
  beginQuery(sql: string): Promise<string[]> {
    return this.#exclusively(async () => {
      const tails = this.#tailsNamedIn(sql);
      for (const tail of tails) {
        await this.#catchUp(tail, tail.logs);
        await this.#store.heat(tail);
      }
      this.#report();
      this.#store.pin();
      return tails.map((tail) => viewOf(tail.stream, [...this.#store.filesOf(tail.stream.name), ...tail.hot]));
    });
  }

  endQuery(): void {
    this.#store.unpin();
  }

  /** Names a damaged file of the streams that `sql` names. */
  findDamage(sql: string): string | undefined {
    return this.#store.damaged(this.#tailsNamedIn(sql).map((tail) => tail.stream.name));
  }

  /** Ends what is running; nothing is written any more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    clearTimeout(this.#maintainTimer);
    for (const timer of this.#followTimers) clearTimeout(timer);
    await this.#queue;
    this.#store.close();
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(() => {
      if (this.#closed) throw new HeadraceError("HR_UNAVAILABLE", "the lake is stopping");
      return work();
    });
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Queries cannot put a name together: `query_table` is not among the functions that they may use. */
  #tailsNamedIn(sql: string): StreamTail[] {
    const words = new Set(sql.toLowerCase().match(/[\p{L}\p{N}_-]+/gu));
    const parts = new Set([...words].flatMap((word) => word.split("-")));
    return this.#tails.filter(
      ({ stream }) => words.has(stream.name.toLowerCase()) || parts.has(stream.name.toLowerCase()),
    );
  }

  /** The next notice of the log starts one round of reading, and only then is the next notice asked for. */
  #follow(tail: StreamTail, log: TailLog): void {
    const cancel = this.#log.watch(log.info.id, () => {
      cancel();
      const timer = setTimeout(() => {
        this.#followTimers.delete(timer);
        this.#follow(tail, log);
      }, followDelayMs);
      this.#followTimers.add(timer);
    });
    void this.#background(async () => {
      await this.#catchUp(tail, [log]);
      this.#report();
    });
  }

  /** Work that nobody waits for: a failure is tried again at the next flush, unless the manifest is in doubt. */
  async #background(work: () => Promise<void>): Promise<void> {
    try {
      await this.#exclusively(work);
    } catch (error) {
      if (this.#closed) return;
      if (error instanceof HeadraceError && error.retry === "never") {
        // Nothing may be under way when the thread is ended.
        this.#closed = true;
        this.#options.fail(error);
      } else {
        process.emitWarning(
          `the lake could not write and tries again: ${error instanceof Error ? error.message : String(error)}`,
        );
        this.#scheduleFlush();
      }
    }
  }

  /** Reads the logs up to what is durable now. */
  async #catchUp(tail: StreamTail, logs: readonly TailLog[]): Promise<void> {
    for (const log of logs) {
      for (const state of await this.#log.channels(log.info.id)) {
        let channel = log.channels.get(state.writer);
        if (channel === undefined) {
          const covered = this.#store.manifest.position(log.info.name, state.writer) ?? state.startSequence;
          channel = { covered, read: covered, end: covered };
          log.channels.set(state.writer, channel);
          // From its first sight on, the log must keep what no file covers.
          this.#options.trimmable([
            { logId: log.info.id, log: log.info.name, writer: state.writer, beforeSequence: covered },
          ]);
        }
        channel.end = state.endSequence;
        if (channel.read < state.startSequence) {
          process.emitWarning(
            `${log.info.name}: records ${channel.read} to ${state.startSequence} were trimmed before they reached the lake`,
          );
          channel.read = state.startSequence;
        }
        while (channel.read < state.endSequence) {
          await this.#makeRoom(tail);
          const blocks = await this.#readable(log, state.writer, channel.read);
          if (blocks.length === 0) break;
          for (const block of blocks) tail.add(log, state.writer, block);
        }
      }
    }
    if (this.#tails.some((one) => one.coverage().length > 0)) this.#scheduleFlush();
  }

  /** The next blocks of a channel; none when they are damaged: then its table ends there, and the others go on. */
  async #readable(log: TailLog, writer: number, fromSequence: number): Promise<Uint8Array[]> {
    try {
      return await this.#log.read({ logId: log.info.id, writer }, fromSequence, readBytes);
    } catch (error) {
      if (!(error instanceof HeadraceError) || error.code !== "HR_BLOCK_CORRUPT") throw error;
      if (!this.#damaged.has(log.info.id))
        process.emitWarning(`the table of ${log.info.name} ends at record ${fromSequence}: ${error.message}`);
      this.#damaged.add(log.info.id);
      return [];
    }
  }

  async #makeRoom(tail: StreamTail): Promise<void> {
    if (tail.rows >= this.#options.flushRows) await this.#flush([tail]);
    if (this.#tails.reduce((sum, one) => sum + one.bytes, 0) < bufferedBytesMax) return;
    await this.#flush([this.#tails.reduce((largest, one) => (one.bytes > largest.bytes ? one : largest))]);
  }

  async #flush(tails: readonly StreamTail[]): Promise<void> {
    const changed = tails.filter((tail) => tail.coverage().length > 0);
    if (changed.length === 0) return;
    await this.#store.flush(changed);
    this.#reportTrimmable(changed);
    this.#report();
  }

  #scheduleFlush(): void {
    if (this.#flushTimer !== undefined || this.#closed) return;
    this.#flushTimer = setTimeout(() => {
      this.#flushTimer = undefined;
      void this.#background(async () => {
        await this.#flush(this.#tails);
        await this.#maintain();
      });
    }, this.#options.flushIntervalMs);
  }

  async #maintain(): Promise<void> {
    const retain = new Map(this.#options.streams.map((stream) => [stream.name, stream.retainAgeMs]));
    await this.#store.maintain(retain, Date.now());
    this.#report();
  }

  #scheduleMaintenance(delayMs: number): void {
    this.#maintainTimer = setTimeout(() => {
      void this.#background(() => this.#maintain());
      this.#scheduleMaintenance(hourMs - (Date.now() % hourMs) + 5000);
    }, delayMs);
  }

  #report(): void {
    const rowsByStream: Record<string, number> = Object.fromEntries(
      this.#tails.map((tail) => [tail.stream.name, tail.rows]),
    );
    let bytes = 0;
    for (const file of this.#store.manifest.files.values()) {
      bytes += file.bytes;
      rowsByStream[file.stream] = (rowsByStream[file.stream] ?? 0) + file.rows;
    }
    let lagRows = 0;
    for (const { logs } of this.#tails) {
      for (const { channels } of logs)
        for (const { covered, end, read } of channels.values()) lagRows += Math.max(end, read) - covered;
    }
    const rows = Object.values(rowsByStream).reduce((sum, count) => sum + count, 0);
    this.#options.report({ rows, files: this.#store.manifest.files.size, bytes, lagRows, rowsByStream });
  }

  #reportTrimmable(tails: readonly StreamTail[]): void {
    const channels = tails.flatMap((tail) =>
      tail.logs.flatMap(({ info }) =>
        [...this.#store.manifest.positionsOf(info.name)].map(([writer, beforeSequence]) => ({
          logId: info.id,
          log: info.name,
          writer,
          beforeSequence,
        })),
      ),
    );
    if (channels.length > 0) this.#options.trimmable(channels);
  }
}
