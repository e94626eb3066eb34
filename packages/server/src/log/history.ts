/** Life of stored data behind the write-ahead log: reading from segments and history files, rewriting, trimming, retention. */
import { join } from "node:path";
import { type Channel, corrupt, type Files, readBlockHeader, verifyBlock } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import type { BlockIndex } from "./block-index.ts";
import { type ChannelIndex, type FileDamage, type Found, segmentOfHistory } from "./channel-index.ts";
import { checksum } from "./checksum.ts";
import { type HistoryEntry, type HistoryFooter, readHistoryBlock, readHistoryFooter } from "./history-file.ts";
import { type Gap, readManifest, settleManifest } from "./history-manifest.ts";
import { type HistorySummary, summaryOf } from "./history-summary.ts";
import type { Maintenance } from "./maintenance.ts";
import { Recent } from "./recent.ts";
import type { Recovered } from "./recovery.ts";
import { segmentFile } from "./segment.ts";
import type { WalEnd } from "./wal.ts";

/** What is kept of a log; absent fields do not limit. */
export interface Retention {
  readonly ageMs?: number;
  readonly bytes?: number;
}

interface HistoryOptions {
  readonly files: Files;
  readonly startMaintenance: () => Maintenance;
  readonly walFolder: string;
  readonly historyFolder: string;
  readonly segmentBytes: number;
  readonly index: BlockIndex;
  /** Called when history cannot go on; the process must end. */
  readonly onFatal: (error: HeadraceError) => void;
}

interface FileState {
  readonly logId: number;
  readonly byteLength: number;
  readonly latestMs: number;
  /** Sequence behind the last record of each writer. */
  readonly ends: Map<number, number>;
}

const retentionIntervalMs = 10_000;
/** Pause before a segment whose rewriting failed is tried again; doubled up to the second value. */
const retryMsMin = 1000;
const retryMsMax = 30_000;
/** Files that are kept open for readers; more would take the descriptors that connections need. */
const openFilesMax = 64;
/** Footers that are kept for readers: a scan needs one at a time, and each of some parallel scans one of its own. */
const footerBytesMax = 8 * 1024 * 1024;
const key = (channel: Channel): string => `${channel.logId}/${channel.writer}`;

export class History {
  readonly #options: HistoryOptions;
  readonly #system: Files;
  readonly #descriptors: Recent<number>;
  readonly #footers = new Recent<HistoryFooter>(footerBytesMax, ({ byteLength }) => byteLength);
  readonly #files = new Map<string, FileState>();
  readonly #trims = new Map<string, { channel: Channel; before: number }>();
  readonly #retention = new Map<number, Retention>();
  readonly #holds = new Map<string, Map<string, number>>();
  readonly #prepared = new Set<number>();
  #rewriting: number[] = [];
  #busy = false;
  #clean = (): void => undefined;
  #running: Maintenance | undefined;
  /** Undefined once no further step may begin. */
  #maintenance: Maintenance | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #retryMs = retryMsMin;
  #firstSegment = 1;
  /** Logs with a file that cannot be read. */
  readonly #stopped = new Set<number>();
  /** Lost records that an operator has agreed to go on without. */
  readonly gaps: Gap[] = [];

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#system = options.files;
    this.#descriptors = new Recent<number>(openFilesMax, () => 1, options.files.close);
  }

  /** Reads manifest and footers; gives every control block to `visitControl`. Returns the last segment that history covers. */
  load(visitControl: (block: Uint8Array) => void): number {
    const { historyFolder, index } = this.#options;
    const manifest = readManifest(historyFolder, this.#system);
    const paths = [...manifest.files.keys()].sort((a, b) => a.localeCompare(b));
    const damaged: (FileDamage & { logId: number })[] = [];
    for (const path of paths) {
      const { logId } = manifest.files.get(path) as { logId: number };
      try {
        this.#loadFile(path, logId, visitControl);
      } catch (error) {
        // Without the catalogue nothing can be told apart; any other file is of one log, and stops that one (ADR 0019).
        if (logId === 0 || !(error instanceof HeadraceError)) throw error;
        damaged.push({ logId, segment: segmentOfHistory(path), error });
      }
    }
    for (const [logId, writer, epoch, endSequence] of manifest.ends) {
      const channel = index.channel({ logId, writer });
      channel.endSequence = Math.max(channel.endSequence, endSequence);
      channel.epoch = Math.max(channel.epoch, epoch);
    }
    for (const { logId, segment, error } of damaged) this.#stopLog(logId, { segment, error });
    for (const gap of manifest.gaps) this.gaps.push(gap);
    this.#firstSegment = manifest.lastSegment + 1;
    this.#clean = () => {
      settleManifest(historyFolder, manifest, this.#system);
      this.#removeOrphans(manifest.files, manifest.lastSegment);
    };
    return manifest.lastSegment;
  }

  #loadFile(path: string, logId: number, visitControl: (block: Uint8Array) => void): void {
    const { historyFolder, index } = this.#options;
    const footer = readHistoryFooter(join(historyFolder, path), logId, this.#system);
    const summary = summaryOf(path, logId, footer.entries());
    for (const run of summary.runs) {
      const { endSequence } = index.channel({ logId, writer: run.writer });
      if (run.firstSequence < endSequence)
        throw corrupt(
          `${join(historyFolder, path)} begins at sequence ${run.firstSequence} of log ${logId}, which ends at ${endSequence}`,
        );
    }
    this.#addFile(summary);
    for (const run of summary.runs) {
      const channel = index.channel({ logId, writer: run.writer });
      channel.addHistory(run);
      channel.epoch = Math.max(channel.epoch, run.epoch);
    }
    if (logId !== 0) return;
    for (const entry of footer.entries()) visitControl(this.#readHistory(path, entry));
  }

  /** What stands in a file that cannot be read, and before it, is not read and not deleted until somebody has seen to it. */
  #stopLog(logId: number, damage: FileDamage): void {
    this.#stopped.add(logId);
    for (const channel of this.#options.index.ofLog(logId)) channel.markDamaged(damage);
    process.emitWarning(`${damage.error.message}: what is in that file, and before it in its log, cannot be read`);
  }

  #removeOrphans(files: ReadonlyMap<string, unknown>, lastSegment: number): void {
    const { historyFolder, walFolder } = this.#options;
    for (const log of this.#system.list(historyFolder).filter((name) => /^\d+$/.test(name))) {
      for (const name of this.#system.list(join(historyFolder, log))) {
        const path = `${log}/${name}`;
        if (/\.hist(\.tmp)?$/.test(name) && !files.has(path)) this.#system.remove(join(historyFolder, path));
      }
    }
    for (const name of this.#system.list(walFolder)) {
      const stale = /^\d{12}\.wal$/.test(name) && Number(name.slice(0, 12)) <= lastSegment;
      if (stale || name.endsWith(".tmp")) this.#system.remove(join(walFolder, name));
    }
  }

  /** Adds a file to the books of retention. */
  #addFile({ path, logId, byteLength, latestMs, runs }: HistorySummary): void {
    const ends = new Map(runs.map(({ writer, endSequence }) => [writer, endSequence]));
    this.#files.set(path, { logId, byteLength, latestMs, ends });
  }

  /** Everything that the log needs is there: what is left of unfinished steps goes, and the background work begins. */
  async start(recovered: Recovered): Promise<void> {
    this.#clean();
    this.#maintenance = this.#options.startMaintenance();
    this.#running = this.#maintenance;
    for (const number of recovered.prepared) this.#prepared.add(number);
    this.#rewriting = [...recovered.sealed];
    this.#firstSegment = Math.min(this.#firstSegment, ...recovered.sealed, recovered.end.segment);
    this.#prepareAfter(recovered.end.segment);
    this.#timer = setInterval(() => void this.#retainOrStop(), retentionIntervalMs).unref();
    void this.#rewriteNext();
  }

  takePrepared(segment: number): boolean {
    return this.#prepared.delete(segment);
  }

  #prepareAfter(segment: number): void {
    const next = segment + 1;
    if (this.#prepared.has(next) || !this.#maintenance) return;
    // Until it is there, rolling makes the file by itself: slower, not wrong.
    void this.#maintenance.prepare(this.#options.walFolder, next, this.#options.segmentBytes).then(
      () => this.#prepared.add(next),
      () => undefined,
    );
  }

  /** A segment is full: prepare the one after the next, rewrite this one. */
  sealed(segment: number): void {
    this.#prepareAfter(segment + 1);
    this.#rewriting.push(segment);
    void this.#rewriteNext();
  }

  async #rewriteNext(): Promise<void> {
    if (this.#busy || !this.#maintenance) return;
    this.#busy = true;
    try {
      for (let segment = this.#rewriting[0]; segment !== undefined && this.#maintenance; segment = this.#rewriting[0]) {
        const trims = [...this.#trims.values()].map(
          ({ channel, before }) => [channel.logId, channel.writer, before] as const,
        );
        const { walFolder, historyFolder } = this.#options;
        const files = await this.#maintenance.rewrite({ walFolder, historyFolder, segment, trims });
        this.#rewriting.shift();
        this.#replaceSegment(segment, files);
        await this.#maintenance.removeSegment(walFolder, segment);
        this.#firstSegment = segment + 1;
        this.#retryMs = retryMsMin;
        // Under load what is kept would otherwise overshoot by all that is rewritten between two looks at the clock.
        await this.#retainOrStop();
      }
    } catch (error) {
      if (this.#isFatal(error)) return;
      // The segment stays and is tried again; nothing is lost by waiting, and what waits is bounded (wal-bound.ts).
      if (!this.#maintenance) return;
      process.emitWarning(`rewriting a write-ahead segment failed and is tried again: ${String(error)}`);
      this.#retryLater();
    } finally {
      this.#busy = false;
    }
  }

  #retryLater(): void {
    if (this.#retryTimer) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      void this.#rewriteNext();
    }, this.#retryMs).unref();
    this.#retryMs = Math.min(retryMsMax, this.#retryMs * 2);
  }

  /** A failed sync, or damage in the write-ahead log, which holds all logs (ADR 0019): no further step may rely on what is stored. */
  #isFatal(error: unknown): boolean {
    if (!(error instanceof HeadraceError) || !["HR_LOG_FAILED", "HR_BLOCK_CORRUPT"].includes(error.code)) return false;
    this.#maintenance = undefined;
    this.#options.onFatal(error);
    return true;
  }

  #replaceSegment(segment: number, files: readonly HistorySummary[]): void {
    for (const file of files) this.#addFile(file);
    for (const channel of this.#options.index.all()) {
      const { logId, writer } = channel.channel;
      const file = files.find((candidate) => candidate.logId === logId);
      channel.replaceSegment(segment, file?.runs.filter((run) => run.writer === writer) ?? []);
    }
    this.#descriptors.delete(segmentFile(this.#options.walFolder, segment));
  }

  #descriptor(path: string): number {
    return this.#descriptors.get(path, () => this.#system.open(path, "r"));
  }

  /** Reads blocks of a channel; every block is checked against its checksum. */
  read(channel: ChannelIndex, fromSequence: number, maxBytes: number): Uint8Array[] {
    const { logId } = channel.channel;
    const damage = channel.damageAt(fromSequence);
    if (damage) throw damage;
    if (fromSequence < channel.startSequence) {
      throw new HeadraceError(
        "HR_NOT_FOUND",
        `sequence ${fromSequence} of log ${logId} is no longer kept; the oldest is ${channel.startSequence}`,
      );
    }
    const footerOf = (path: string): HistoryFooter =>
      this.#footers.get(path, () => readHistoryFooter(join(this.#options.historyFolder, path), logId, this.#system));
    return channel.find(fromSequence, maxBytes, footerOf).map((found) => this.#readBlock(logId, found));
  }

  #readBlock(logId: number, found: Found): Uint8Array {
    if (found.kind === "history") return this.#readHistory(found.path, found.entry);
    const { number, place } = found;
    const path = segmentFile(this.#options.walFolder, number);
    const block = new Uint8Array(place.byteLength);
    this.#system.read(this.#descriptor(path), block, 0, block.byteLength, place.offset);
    const header = readBlockHeader(block);
    if (!verifyBlock(block, header, checksum) || header.sequence !== place.sequence || header.logId !== logId)
      throw corrupt(`${path} is damaged at byte ${place.offset}`);
    return block;
  }

  #readHistory(file: string, entry: HistoryEntry): Uint8Array {
    const path = join(this.#options.historyFolder, file);
    return readHistoryBlock(this.#descriptor(path), path, entry, this.#system);
  }

  trim(channel: Channel, before: number): void {
    this.#trims.set(key(channel), { channel: { logId: channel.logId, writer: channel.writer }, before });
  }
  setRetention(logId: number, retention: Retention): void {
    this.#retention.set(logId, retention);
  }
  hold(reader: string, channel: Channel, sequence: number): void {
    const holds = this.#holds.get(key(channel)) ?? new Map<string, number>();
    this.#holds.set(key(channel), holds);
    holds.set(reader, sequence);
  }
  release(reader: string): void {
    for (const holds of this.#holds.values()) holds.delete(reader);
  }

  async #retainOrStop(): Promise<void> {
    try {
      await this.#retain();
    } catch (error) {
      if (!this.#isFatal(error) && this.#maintenance)
        process.emitWarning(`deleting history files failed: ${String(error)}`);
    }
  }

  /** Deletes history files that are trimmed as a whole, too old, or beyond a log's size. Oldest first; a file that is held stops its log. */
  async #retain(nowMs = Date.now()): Promise<void> {
    const dropped: string[] = [];
    const byLog = new Map<number, [string, FileState][]>();
    for (const [path, file] of this.#files) byLog.set(file.logId, [...(byLog.get(file.logId) ?? []), [path, file]]);
    for (const [logId, files] of byLog) {
      if (this.#stopped.has(logId)) continue;
      const { ageMs, bytes } = this.#retention.get(logId) ?? {};
      let total = files.reduce((sum, [, file]) => sum + file.byteLength, 0);
      for (const [path, file] of files.sort(([a], [b]) => a.localeCompare(b))) {
        const trimmed = [...file.ends].every(
          ([writer, end]) => end <= (this.#trims.get(key({ logId, writer }))?.before ?? 0),
        );
        const expired =
          (ageMs !== undefined && file.latestMs < nowMs - ageMs) || (bytes !== undefined && total > bytes);
        if (!(trimmed || (expired && !this.#isHeld(logId, file)))) break;
        dropped.push(path);
        total -= file.byteLength;
      }
    }
    if (dropped.length === 0 || !this.#maintenance) return;
    for (const path of dropped) {
      this.#descriptors.delete(join(this.#options.historyFolder, path));
      this.#footers.delete(path);
      this.#files.delete(path);
    }
    const gone = new Set(dropped);
    for (const channel of this.#options.index.all()) channel.dropHistory(gone);
    await this.#maintenance.dropHistory(this.#options.historyFolder, dropped);
  }

  #isHeld(logId: number, file: FileState): boolean {
    for (const [writer, end] of file.ends) {
      for (const sequence of this.#holds.get(key({ logId, writer }))?.values() ?? []) if (sequence < end) return true;
    }
    return false;
  }

  /** Bytes that are in segments and not yet in history. */
  walBytes(end: Readonly<WalEnd>): number {
    return Math.max(0, end.segment - this.#firstSegment) * this.#options.segmentBytes + end.offset;
  }
  /** Memory of the footers that are kept for readers. */
  get footerBytes(): number {
    return this.#footers.size;
  }
  get historyBytes(): number {
    let bytes = 0;
    for (const file of this.#files.values()) bytes += file.byteLength;
    return bytes;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#retryTimer);
    this.#maintenance = undefined;
    await this.#running?.close();
    this.#descriptors.clear();
  }
}
