/**
 * Marks survive a restart: a snapshot now and then in the log `marks/<stream>`, and behind its positions the stream's own log, which is read
 * again at start. A snapshot is one atomic append of as many blocks as it needs; the newest complete one counts. The stream's log is held from the
 * snapshot's positions on, so that retention never removes what a restart has to read.
 *
 * Section 1: JSON {part, parts, positions: {log name: {writer: sequence}}}. Section 2, little endian: per mark u32 epoch, u64 sequence, u16 length, UTF-8.
 */
import {
  type BlockHeader,
  blockKind,
  EventBlockReader,
  getUint53,
  type LogInfo,
  packBlock,
  readBlockHeader,
  readSections,
  sectionBytes,
  setUint53,
  viewOf,
} from "@headrace/engine";
import type { StreamDefinition } from "@headrace/sdk";
import { checksum, type EmbeddedLog } from "../log/index.ts";
import { blocksOf } from "./blocks.ts";
import { DeviceOf } from "./device-of.ts";
import type { Marks } from "./repeats.ts";

/** log name → writer → sequence of the first record that the snapshot does not cover. */
type Positions = Record<string, Record<string, number>>;

interface Part {
  readonly part: number;
  readonly parts: number;
  readonly positions: Positions;
}

const section = { head: 1, marks: 2 } as const;
const partBytes = 256 * 1024;
/** Events behind a snapshot that a restart may have to read: sequenced ones, and all. */
const sequencedMax = 100_000;
const storedMax = 1_000_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class MarksLog {
  readonly #log: EmbeddedLog;
  readonly #stream: StreamDefinition;
  readonly #marks: Marks;
  readonly #logId: number;
  readonly #epoch: number;
  #writing: Promise<void> | undefined;
  /** Events that the newest snapshot covers. */
  #lastEnd = 0;
  #groups = 0;

  private constructor(parts: {
    log: EmbeddedLog;
    stream: StreamDefinition;
    marks: Marks;
    logId: number;
    epoch: number;
  }) {
    this.#log = parts.log;
    this.#stream = parts.stream;
    this.#marks = parts.marks;
    this.#logId = parts.logId;
    this.#epoch = parts.epoch;
  }

  /** Opens the marks of a stream and brings them to where its log ends. */
  static async open(log: EmbeddedLog, stream: StreamDefinition, marks: Marks): Promise<MarksLog> {
    const { id: logId } = await log.open(`marks/${stream.name}`, "control");
    const epoch = await log.fence({ logId, writer: 0 });
    const opened = new MarksLog({ log, stream, marks, logId, epoch });
    const positions = await opened.#readSnapshot();
    opened.#hold(positions);
    for (const writers of Object.values(positions)) for (const end of Object.values(writers)) opened.#lastEnd += end;
    await opened.#replay(positions);
    return opened;
  }

  /** Also partitions that are no longer written: their devices may still send. */
  get #inputs(): LogInfo[] {
    return this.#log.list(`stream/${this.#stream.name}/`);
  }

  #end(): number {
    let end = 0;
    for (const { id } of this.#inputs) for (const channel of this.#log.channels(id)) end += channel.endSequence;
    return end;
  }

  async #readSnapshot(): Promise<Positions> {
    let positions: Positions = {};
    let parts: Uint8Array[] = [];
    for await (const block of blocksOf(this.#log, { logId: this.#logId, writer: 0 })) {
      const sections = readSections(block, readBlockHeader(block));
      const head = JSON.parse(decoder.decode(sectionBytes(block, sections, section.head))) as Part;
      if (head.part === 0) parts = [];
      parts.push(sectionBytes(block, sections, section.marks) ?? new Uint8Array(0));
      if (parts.length < head.parts) continue;
      positions = head.positions;
      // Marks only rise, so taking an older snapshot first does no harm.
      for (const part of parts) this.#restore(part);
      parts = [];
    }
    return positions;
  }

  #restore(bytes: Uint8Array): void {
    const view = viewOf(bytes);
    for (let at = 0; at < bytes.byteLength; ) {
      const length = view.getUint16(at + 12, true);
      this.#marks.restore(
        decoder.decode(bytes.subarray(at + 14, at + 14 + length)),
        view.getUint32(at, true),
        getUint53(view, at + 4),
      );
      at += 14 + length;
    }
  }

  async #replay(positions: Positions): Promise<void> {
    const devices = new DeviceOf(this.#stream);
    for (const { id, name } of this.#inputs) {
      for (const { writer } of this.#log.channels(id)) {
        const from = positions[name]?.[writer] ?? 0;
        for await (const block of blocksOf(this.#log, { logId: id, writer }, from)) this.#replayBlock(block, devices);
      }
    }
  }

  #replayBlock(block: Uint8Array, devices: DeviceOf): void {
    const header: BlockHeader = readBlockHeader(block);
    if (header.kind !== blockKind.events) return;
    const reader = new EventBlockReader(block, header);
    while (reader.next()) {
      if (reader.deviceSequence >= 0 && !reader.repeated)
        this.#marks.restore(devices.of(reader), reader.deviceEpoch, reader.deviceSequence);
    }
  }

  /** After a group: writes a snapshot when a restart would otherwise have too much to read. Marks and log agree at this moment. */
  afterGroup(): void {
    const size = this.#marks.size;
    this.#groups += 1;
    if (this.#writing) return;
    // A large snapshot is written less often, so that its cost per event stays the same.
    const isDue =
      this.#marks.sequencedCount >= Math.max(sequencedMax, size * 2) ||
      (this.#groups % 256 === 0 && this.#end() - this.#lastEnd >= Math.max(storedMax, size * 8));
    if (isDue) void this.snapshot().catch(() => undefined);
  }

  /** Writes a snapshot; settles when it is durable. One that fails changes nothing: the one before it still holds. */
  async snapshot(): Promise<void> {
    await this.#writing;
    if (this.#end() === this.#lastEnd) return;
    this.#writing = this.#write();
    try {
      await this.#writing;
    } finally {
      this.#writing = undefined;
    }
  }

  async #write(): Promise<void> {
    // Of every group that is durable by now, the marks are settled when the loop comes round.
    await new Promise((resolve) => setImmediate(resolve));
    const end = this.#end();
    const positions: Positions = {};
    for (const { id, name } of this.#inputs) {
      positions[name] = Object.fromEntries(
        this.#log.channels(id).map((channel) => [channel.writer, channel.endSequence]),
      );
    }
    const parts = this.#encode();
    const start = this.#log.endSequence({ logId: this.#logId, writer: 0 });
    const blocks = parts.map((bytes, part) => {
      const head: Part = { part, parts: parts.length, positions };
      return packBlock(
        {
          logId: this.#logId,
          writer: 0,
          epoch: this.#epoch,
          sequence: start + part,
          recordCount: 1,
          earliestMs: 0,
          latestMs: 0,
          kind: blockKind.snapshot,
        },
        [
          { type: section.head, bytes: encoder.encode(JSON.stringify(head)) },
          { type: section.marks, bytes },
        ],
        checksum,
      );
    });
    this.#marks.sequencedCount = 0;
    this.#lastEnd = end;
    await this.#log.append(blocks);
    this.#hold(positions);
    this.#log.trim({ logId: this.#logId, writer: 0 }, start);
  }

  #encode(): Uint8Array[] {
    const parts: Uint8Array[] = [];
    let bytes = new Uint8Array(partBytes);
    let view = viewOf(bytes);
    let at = 0;
    for (const [device, mark] of this.#marks.entries()) {
      if (mark.durableSequence < 0) continue;
      const name = encoder.encode(device);
      if (at + 14 + name.byteLength > partBytes) {
        parts.push(bytes.subarray(0, at));
        bytes = new Uint8Array(partBytes);
        view = viewOf(bytes);
        at = 0;
      }
      view.setUint32(at, mark.durableEpoch, true);
      setUint53(view, at + 4, mark.durableSequence);
      view.setUint16(at + 12, name.byteLength, true);
      bytes.set(name, at + 14);
      at += 14 + name.byteLength;
    }
    parts.push(bytes.subarray(0, at));
    return parts;
  }

  #hold(positions: Positions): void {
    for (const { id, name } of this.#inputs) {
      for (const { writer } of this.#log.channels(id))
        this.#log.hold("marks", { logId: id, writer }, positions[name]?.[writer] ?? 0);
    }
  }
}
