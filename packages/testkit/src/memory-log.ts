/**
 * The Log port in memory: the reference that drivers are compared with, and the log of testApp.
 * As a Log, each append is "durable" one microtask later, so that callers cannot rely on it being so at once;
 * the `…Now` methods do the same without a pause, for a virtual clock that must not depend on microtasks.
 */
import {
  type BlockHeader,
  type Channel,
  type ChannelState,
  fencedEpoch,
  GroupFence,
  type Log,
  type LogInfo,
  type LogRole,
  readBlockHeader,
} from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";

interface StoredBlock {
  readonly header: BlockHeader;
  readonly bytes: Uint8Array;
  /** Counts appended blocks over all logs. */
  readonly order: number;
}

interface MemoryChannel extends ChannelState {
  epoch: number;
  startSequence: number;
  endSequence: number;
  blocks: StoredBlock[];
}

interface MemoryPart {
  readonly info: LogInfo;
  readonly channels: Map<number, MemoryChannel>;
  readonly listeners: Set<() => void>;
}

export class MemoryLog implements Log {
  readonly prefixDurable = true;
  readonly #parts: MemoryPart[] = [];
  #appended = 0;

  async open(name: string, role: LogRole): Promise<LogInfo> {
    return this.openNow(name, role);
  }

  /** {@link open} at once. */
  openNow(name: string, role: LogRole): LogInfo {
    const existing = this.#parts.find((part) => part.info.name === name);
    if (existing) return existing.info;
    const info: LogInfo = { id: this.#parts.length + 1, name, role };
    this.#parts.push({ info, channels: new Map(), listeners: new Set() });
    return info;
  }

  list(prefix: string): LogInfo[] {
    return this.#parts.filter(({ info }) => info.name.startsWith(prefix)).map(({ info }) => info);
  }

  async append(group: readonly Uint8Array[]): Promise<void> {
    const touched = this.#store(group);
    await Promise.resolve();
    for (const part of touched) for (const listener of [...part.listeners]) listener();
  }

  /** {@link append} at once. @throws HR_FENCED */
  appendNow(group: readonly Uint8Array[]): void {
    for (const part of this.#store(group)) for (const listener of [...part.listeners]) listener();
  }

  #store(group: readonly Uint8Array[]): Set<MemoryPart> {
    const headers = group.map((block) => readBlockHeader(block));
    const fence = new GroupFence((channel) => this.#channel(channel));
    const refusal = fence.admit(headers);
    if (refusal) {
      const { header, expected } = refusal;
      throw new HeadraceError(
        "HR_FENCED",
        `log ${header.logId} writer ${header.writer}: a block of epoch ${header.epoch} at ${header.sequence} cannot follow epoch ${expected.epoch} at ${expected.endSequence}`,
      );
    }
    // The caller may use its buffers again as soon as the call settles.
    headers.forEach((header, index) => {
      this.#channel(header).blocks.push({
        header,
        bytes: group[index].slice(0, header.byteLength),
        order: this.#appended++,
      });
    });
    for (const [channel, end] of fence.ends) Object.assign(channel, end);
    return new Set(headers.map((header) => this.#part(header.logId)));
  }

  async fence(channel: Channel, epoch?: number): Promise<number> {
    return this.fenceNow(channel, epoch);
  }

  /** {@link fence} at once. @throws HR_FENCED */
  fenceNow(channel: Channel, asked?: number): number {
    const state = this.#channel(channel);
    const epoch = fencedEpoch(state.epoch, asked);
    if (epoch === undefined)
      throw new HeadraceError(
        "HR_FENCED",
        `log ${channel.logId} writer ${channel.writer} has seen epoch ${state.epoch}, it cannot be taken over with ${asked}`,
      );
    state.epoch = epoch;
    return epoch;
  }

  channels(logId: number): ChannelState[] {
    return [...this.#part(logId).channels.values()].map(({ writer, epoch, startSequence, endSequence }) => ({
      logId,
      writer,
      epoch,
      startSequence,
      endSequence,
    }));
  }

  async read(channel: Channel, fromSequence: number, maxBytes: number): Promise<Uint8Array[]> {
    return this.readNow(channel, fromSequence, maxBytes);
  }

  /** {@link read} at once. @throws HR_NOT_FOUND */
  readNow(channel: Channel, fromSequence: number, maxBytes: number): Uint8Array[] {
    const { blocks, startSequence } = this.#channel(channel);
    if (fromSequence < startSequence) {
      throw new HeadraceError(
        "HR_NOT_FOUND",
        `records below ${startSequence} of log ${channel.logId} have been trimmed, ${fromSequence} was asked for`,
      );
    }
    const found: Uint8Array[] = [];
    let bytes = 0;
    for (const block of blocks) {
      if (block.header.sequence + block.header.recordCount <= fromSequence) continue;
      if (found.length > 0 && bytes + block.bytes.byteLength > maxBytes) break;
      found.push(block.bytes);
      bytes += block.bytes.byteLength;
    }
    return found;
  }

  trim(channel: Channel, beforeSequence: number): void {
    const state = this.#channel(channel);
    const kept = state.blocks.findIndex(({ header }) => header.sequence + header.recordCount > beforeSequence);
    const removed = kept < 0 ? state.blocks.splice(0) : state.blocks.splice(0, kept);
    const last = removed.at(-1);
    if (last) state.startSequence = last.header.sequence + last.header.recordCount;
  }

  /** All blocks of a log, over its channels, in the order of their appends. */
  blocksOf(logId: number): Uint8Array[] {
    return [...this.#part(logId).channels.values()]
      .flatMap(({ blocks }) => blocks)
      .sort((a, b) => a.order - b.order)
      .map(({ bytes }) => bytes);
  }

  /** Every block of every log in the order of their appends, as one sequence of bytes: equal for equal runs. */
  dump(): Uint8Array {
    const blocks = this.#parts
      .flatMap(({ channels }) => [...channels.values()].flatMap((channel) => channel.blocks))
      .sort((a, b) => a.order - b.order);
    const bytes = new Uint8Array(blocks.reduce((sum, block) => sum + block.bytes.byteLength, 0));
    let at = 0;
    for (const block of blocks) {
      bytes.set(block.bytes, at);
      at += block.bytes.byteLength;
    }
    return bytes;
  }

  watch(logId: number, listener: () => void): () => void {
    const { listeners } = this.#part(logId);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  #part(logId: number): MemoryPart {
    const part = this.#parts[logId - 1];
    if (!part) throw new HeadraceError("HR_NOT_FOUND", `there is no log ${logId}`);
    return part;
  }

  #channel({ logId, writer }: Channel): MemoryChannel {
    const { channels } = this.#part(logId);
    let channel = channels.get(writer);
    if (!channel) {
      channel = { logId, writer, epoch: 0, startSequence: 0, endSequence: 0, blocks: [] };
      channels.set(writer, channel);
    }
    return channel;
  }
}
