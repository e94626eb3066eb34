/**
 * The embedded driver of the Log port (ADR 0001): all logs share one write-ahead log, one frame and one fdatasync per group.
 * Groups form by themselves: whatever is pending when the event loop comes round is written together.
 */
import {
  type BlockHeader,
  blockKind,
  type Channel,
  type ChannelState,
  fencedEpoch,
  GroupFence,
  type Log,
  type LogInfo,
  type LogRole,
  packBlock,
  type Refusal,
  readBlockHeader,
  readSections,
  sectionBytes,
} from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { addListener } from "./add-listener.ts";
import { BlockIndex } from "./block-index.ts";
import { checksum } from "./checksum.ts";
import { History, type Retention } from "./history.ts";
import type { Gap } from "./history-manifest.ts";
import { IdleMarker } from "./idle-marker.ts";
import { openLogFolders } from "./log-folders.ts";
import { type LogSystem, nodeLogSystem } from "./log-system.ts";
import { recoverWal } from "./recovery.ts";
import { segmentBytesDefault } from "./segment.ts";
import type { Syncer } from "./sync-thread.ts";
import { groupBytesMax, Wal } from "./wal.ts";
import { beyondBound, walBytesMaxDefault } from "./wal-bound.ts";

/** A part of this thread that has open blocks: asked for them when a group forms, told when they are durable. */
export interface GroupSource {
  /** Seals what is open. The bytes stay untouched until `settled`. */
  collect(): readonly Uint8Array[];
  /** Called once per non-empty `collect`, with the error when nothing was stored. */
  settled(error?: HeadraceError): void;
  /** Called when everybody has been told of a group that is durable, whoever it came from. */
  turnEnded?(): void;
}

export interface EmbeddedLogOptions {
  readonly folder: string;
  /** Size of a write-ahead segment; default 64 MiB. */
  readonly segmentBytes?: number;
  readonly nowMs?: () => number;
  /** Called when the log cannot go on; the process must end. */
  readonly onFatal: (error: HeadraceError) => void;
  /** Beyond it nothing new is taken in, until segments have been rewritten; default 4 GiB. */
  readonly walBytesMax?: number;
  /** Default: the machine's. */
  readonly system?: LogSystem;
}

interface Pending {
  readonly blocks: readonly Uint8Array[];
  readonly headers: readonly BlockHeader[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const controlLog = 0;
const controlSection = 1;

/** Sees each block of a log once it is written and before it is durable; `block` must be copied to be kept. */
export type EarlyListener = (block: Uint8Array, header: BlockHeader) => void;

export class EmbeddedLog implements Log {
  readonly prefixDurable = true;
  readonly #index = new BlockIndex();
  readonly #byName = new Map<string, LogInfo>();
  readonly #roles = new Map<number, LogInfo>();
  readonly #sources: GroupSource[] = [];
  readonly #watchers = new Map<number, Set<() => void>>();
  readonly #early = new Map<number, Set<EarlyListener>>();
  readonly #onFatal: (error: HeadraceError) => void;
  #pending: Pending[] = [];
  #wal!: Wal;
  #history!: History;
  #syncer: Syncer | undefined;
  /** A group is written and not durable yet: the next one forms meanwhile. */
  #syncing: Promise<void> | undefined;
  #flushAsked = false;
  /** A group was asked for while one was being synced. */
  #flushDue = false;
  #lingerTimer: NodeJS.Timeout | undefined;
  #lingerDueMs = Number.POSITIVE_INFINITY;
  readonly #marker = new IdleMarker(
    () => this.#syncing !== undefined,
    () => this.#writeMarker(),
  );
  #closed = false;
  #nextLogId = 1;
  /** Where a torn tail was cut at this start. */
  recoveredCut: { segment: number; offset: number } | undefined;

  readonly #walBytesMax: number;

  private constructor(options: EmbeddedLogOptions) {
    this.#onFatal = options.onFatal;
    this.#walBytesMax = options.walBytesMax ?? walBytesMaxDefault;
  }

  /** Opens the log in `folder`, recovering what was durable. @throws HR_BLOCK_CORRUPT naming file and offset */
  static async open(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
    const log = new EmbeddedLog(options);
    await log.#recover(options);
    return log;
  }

  async #recover(options: EmbeddedLogOptions): Promise<void> {
    const { files, startMaintenance, startSync, random32 } = options.system ?? nodeLogSystem;
    this.#syncer = startSync?.();
    const { walFolder, historyFolder } = openLogFolders(options.folder, files);
    const segmentBytes = options.segmentBytes ?? segmentBytesDefault;
    const history = new History({
      files,
      startMaintenance,
      walFolder,
      historyFolder,
      segmentBytes,
      index: this.#index,
      onFatal: (error) => {
        this.#closed = true;
        this.#onFatal(error);
      },
    });
    const lastSegment = history.load((block) => this.#applyControl(block));
    const visit = (segment: number, offset: number, header: BlockHeader, block: Uint8Array): void => {
      this.#index.add(segment, offset, header);
      if (header.logId === controlLog) this.#applyControl(block);
    };
    const recovered = recoverWal(walFolder, lastSegment, visit, files);
    this.recoveredCut = recovered.cut;
    this.#history = history;
    await history.start(recovered);
    this.#wal = new Wal(
      {
        files,
        random32,
        folder: walFolder,
        segmentBytes,
        nowMs: options.nowMs ?? Date.now,
        onSealed: (segment) => history.sealed(segment),
        isPrepared: (segment) => history.takePrepared(segment),
      },
      recovered.end,
      recovered.tail,
    );
  }

  #applyControl(block: Uint8Array): void {
    const header = readBlockHeader(block);
    const bytes = sectionBytes(block, readSections(block, header), controlSection);
    if (!bytes) return;
    const entry = JSON.parse(new TextDecoder().decode(bytes)) as {
      type: string;
      id: number;
      name: string;
      role: LogRole;
    };
    if (entry.type !== "log") return;
    const info: LogInfo = { id: entry.id, name: entry.name, role: entry.role };
    this.#byName.set(info.name, info);
    this.#roles.set(info.id, info);
    this.#nextLogId = Math.max(this.#nextLogId, info.id + 1);
  }

  async open(name: string, role: LogRole): Promise<LogInfo> {
    const known = this.#byName.get(name);
    if (known) {
      await this.#opening.get(name);
      return known;
    }
    const info: LogInfo = { id: this.#nextLogId++, name, role };
    this.#byName.set(name, info);
    this.#roles.set(info.id, info);
    const control = this.#index.channel({ logId: controlLog, writer: 0 });
    // Catalogue entries of one turn go into one group: each takes the next sequence at once.
    const sequence = Math.max(control.endSequence, this.#controlReserved);
    this.#controlReserved = sequence + 1;
    const bytes = new TextEncoder().encode(JSON.stringify({ type: "log", ...info }));
    const place = {
      logId: controlLog,
      writer: 0,
      epoch: 1,
      sequence,
      recordCount: 1,
      earliestMs: 0,
      latestMs: 0,
      kind: blockKind.control,
    };
    const opening = this.append([packBlock(place, [{ type: controlSection, bytes }], checksum)]);
    this.#opening.set(name, opening);
    await opening.finally(() => this.#opening.delete(name));
    return info;
  }
  #controlReserved = 0;
  /** Logs whose entry is not durable yet. */
  readonly #opening = new Map<string, Promise<void>>();

  list(prefix: string): LogInfo[] {
    return [...this.#byName.values()].filter((info) => info.name.startsWith(prefix));
  }

  /** @param lingerMs how long the group may wait for company; for commits that nobody waits for */
  append(group: readonly Uint8Array[], lingerMs = 0): Promise<void> {
    if (this.#closed) return Promise.reject(new HeadraceError("HR_UNAVAILABLE", "the log is closed"));
    return new Promise((resolve, reject) => {
      this.#pending.push({ blocks: group, headers: group.map(readBlockHeader), resolve, reject });
      this.requestFlush(lingerMs);
    });
  }

  async fence(channel: Channel, asked?: number): Promise<number> {
    const state = this.#index.channel(channel);
    const epoch = fencedEpoch(state.epoch, asked);
    if (epoch === undefined)
      throw new HeadraceError(
        "HR_FENCED",
        `log ${this.#nameOf(channel.logId)}, writer ${channel.writer}, has seen epoch ${state.epoch}: it cannot be taken over with epoch ${asked}`,
      );
    state.epoch = epoch;
    // A group that is written already is not taken back: whoever takes over reads behind it.
    if (this.#syncing) await this.#syncing;
    return epoch;
  }

  #nameOf(logId: number): string {
    return this.#roles.get(logId)?.name ?? `log ${logId}`;
  }

  channels(logId: number): ChannelState[] {
    return this.#index.ofLog(logId).map((state) => ({
      ...state.channel,
      epoch: state.epoch,
      startSequence: state.startSequence,
      endSequence: state.endSequence,
    }));
  }

  /** Sequence that the channel's next block must carry. */
  endSequence(channel: Channel): number {
    return this.#index.channel(channel).endSequence;
  }

  async read(channel: Channel, fromSequence: number, maxBytes: number): Promise<Uint8Array[]> {
    return this.#history.read(this.#index.channel(channel), fromSequence, maxBytes);
  }

  trim(channel: Channel, beforeSequence: number): void {
    this.#history.trim(channel, beforeSequence);
  }

  /** Sets what is kept of a log by age and size; whatever a reader still holds is kept longer. */
  setRetention(logId: number, retention: Retention): void {
    this.#history.setRetention(logId, retention);
  }
  /** A reader says from where it still needs a channel; retention never passes the lowest hold. */
  hold(reader: string, channel: Channel, sequence: number): void {
    this.#history.hold(reader, channel, sequence);
  }

  /** Forgets a reader that is gone for good. */
  release(reader: string): void {
    this.#history.release(reader);
  }

  /** Lost records that an operator has agreed to go on without, with the names of their logs. */
  gaps(): (Gap & { readonly log: string })[] {
    return this.#history.gaps.map((gap) => ({ ...gap, log: this.#nameOf(gap.logId) }));
  }

  watch(logId: number, listener: () => void): () => void {
    return addListener(this.#watchers, logId, listener);
  }
  /** Like `watch`, with the blocks themselves, before their fdatasync: for tasks only, whose commits come behind them anyway (`prefixDurable`). */
  watchEarly(logId: number, listener: EarlyListener): () => void {
    return addListener(this.#early, logId, listener);
  }

  addSource(source: GroupSource): () => void {
    this.#sources.push(source);
    return () => this.#sources.splice(this.#sources.indexOf(source), 1);
  }

  /**
   * Asks for a group at the end of this turn of the event loop, or, when `lingerMs` is given and nothing more urgent comes, after that pause.
   * Lingering is for input at low rates: one sync then serves many messages (ADR 0001).
   */
  requestFlush(lingerMs = 0): void {
    if (this.#flushAsked) return;
    if (lingerMs > 0) {
      const dueMs = performance.now() + lingerMs;
      if (dueMs >= this.#lingerDueMs) return;
      clearTimeout(this.#lingerTimer);
      this.#lingerDueMs = dueMs;
      this.#lingerTimer = setTimeout(() => this.#flush(), lingerMs);
      return;
    }
    if (this.#syncing) {
      this.#flushDue = true;
      return;
    }
    this.#flushAsked = true;
    setImmediate(() => this.#flush());
  }

  /** Settles when the group that is written and not durable yet is durable and everybody has been told; undefined when there is none. */
  get underWay(): Promise<void> | undefined {
    return this.#syncing;
  }

  /** Settles when everything that was accepted and appended up to now is written, and early listeners have it. */
  async written(): Promise<void> {
    while (this.#syncing) await this.#syncing;
    this.#flush();
  }

  #flush(): void {
    this.#flushAsked = false;
    if (this.#closed) return;
    if (this.#syncing) {
      this.#flushDue = true;
      return;
    }
    clearTimeout(this.#lingerTimer);
    this.#lingerDueMs = Number.POSITIVE_INFINITY;
    const blocks: Uint8Array[] = [];
    const headers: BlockHeader[] = [];
    const involved: GroupSource[] = [];
    const walBytes = this.#history.walBytes(this.#wal.end);
    for (const source of this.#sources) {
      const collected = source.collect();
      if (collected.length === 0) continue;
      const beyond = beyondBound(walBytes, this.#walBytesMax);
      if (beyond) {
        source.settled(beyond);
        continue;
      }
      involved.push(source);
      for (const block of collected) {
        blocks.push(block);
        headers.push(readBlockHeader(block));
      }
    }
    const fence = new GroupFence((channel) => this.#index.channel(channel));
    for (const header of headers) fence.note(header);
    const admitted: Pending[] = [];
    let groupBytes = 0;
    for (const block of blocks) groupBytes += block.byteLength;
    const pending = this.#pending;
    this.#pending = [];
    for (const [index, append] of pending.entries()) {
      // What does not fit keeps its order and goes into the next group.
      if (groupBytes >= groupBytesMax) {
        this.#pending = pending.slice(index);
        this.requestFlush();
        break;
      }
      const beyond = beyondBound(walBytes, this.#walBytesMax, append.headers);
      const refusal = beyond ? undefined : fence.admit(append.headers);
      if (beyond) append.reject(beyond);
      else if (refusal) append.reject(this.#fenced(refusal));
      else {
        admitted.push(append);
        blocks.push(...append.blocks);
        headers.push(...append.headers);
        for (const block of append.blocks) groupBytes += block.byteLength;
      }
    }
    if (blocks.length > 0) this.#store(blocks, headers, involved, admitted);
  }

  #fenced({ header, expected }: Refusal): HeadraceError {
    return new HeadraceError(
      "HR_FENCED",
      `log ${this.#nameOf(header.logId)}, writer ${header.writer}: epoch ${header.epoch} sequence ${header.sequence} was refused, epoch ${expected.epoch} sequence ${expected.endSequence} is expected`,
    );
  }

  #store(blocks: Uint8Array[], headers: BlockHeader[], involved: GroupSource[], admitted: Pending[]): void {
    let place: { segment: number; offset: number };
    try {
      place = this.#wal.write(blocks);
      for (const [index, header] of headers.entries()) {
        for (const listener of this.#early.get(header.logId) ?? []) listener(blocks[index], header);
      }
      if (this.#syncer) {
        this.#syncing = new Promise((settled) => {
          this.#wal.syncIn(this.#syncer as Syncer, (failure) => {
            this.#syncing = undefined;
            settled();
            if (failure) this.#fail(failure);
            else this.#durable(place, blocks, headers, involved, admitted);
          });
        });
        return;
      }
      this.#wal.sync();
    } catch (error) {
      const failure = error as HeadraceError;
      if (!isRefusal(failure)) {
        this.#fail(failure);
        return;
      }
      for (const source of involved) source.settled(failure);
      for (const append of admitted) append.reject(failure);
      return;
    }
    this.#durable(place, blocks, headers, involved, admitted);
  }

  #fail(failure: HeadraceError): void {
    this.#closed = true;
    this.#onFatal(failure);
  }

  /** Tells everybody. */
  #durable(
    place: { segment: number; offset: number },
    blocks: readonly Uint8Array[],
    headers: readonly BlockHeader[],
    involved: readonly GroupSource[],
    admitted: readonly Pending[],
  ): void {
    let offset = place.offset;
    const touched = new Set<number>();
    for (const [index, header] of headers.entries()) {
      this.#index.add(place.segment, offset, header);
      offset += blocks[index].byteLength;
      touched.add(header.logId);
    }
    for (const source of involved) source.settled();
    for (const append of admitted) append.resolve();
    for (const logId of touched) for (const listener of this.#watchers.get(logId) ?? []) listener();
    for (const source of this.#sources) source.turnEnded?.();
    this.#marker.note();
    if (!this.#flushDue) return;
    this.#flushDue = false;
    this.requestFlush();
  }

  #writeMarker(): void {
    try {
      this.#wal.write([], true);
      this.#wal.sync();
    } catch (error) {
      if (!isRefusal(error as HeadraceError)) this.#onFatal(error as HeadraceError);
    }
  }

  /** Sync durations (ms), number of syncs, bytes on disk in segments and in history, and memory of the index of all blocks. */
  metrics(): {
    syncs: number;
    syncMsP50: number;
    syncMsP99: number;
    walBytes: number;
    historyBytes: number;
    indexBytes: number;
  } {
    const sorted = this.#wal.syncMs.slice(0, Math.min(this.#wal.syncs, 1024)).sort();
    const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? 0;
    return {
      syncs: this.#wal.syncs,
      syncMsP50: at(0.5),
      syncMsP99: at(0.99),
      walBytes: this.#history.walBytes(this.#wal.end),
      historyBytes: this.#history.historyBytes,
      indexBytes: this.#index.byteLength + this.#history.footerBytes,
    };
  }

  /** Writes what is pending and a marker, then closes. */
  async close(): Promise<void> {
    if (this.#closed) return;
    while (this.#syncing) await this.#syncing;
    this.#syncer?.close();
    this.#syncer = undefined;
    this.#flush();
    while (this.#pending.length > 0) this.#flush();
    this.#marker.stop();
    if (this.#wal.end.offset > 0) this.#writeMarker();
    this.#closed = true;
    this.#wal.close();
    await this.#history.close();
  }
}

/** Nothing was stored, and the log can go on. */
const isRefusal = ({ code }: HeadraceError): boolean => code === "HR_DISK_FULL" || code === "HR_OUT_OF_DESCRIPTORS";
