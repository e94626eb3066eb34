/** The end of a stream: what has been read from its logs and is in no file yet. Its blocks stay as they are until a file is written. */
import { blockKind, type LogInfo, readBlockHeader } from "@headrace/engine";
import { columnsOf, selectOf, signatureOf, type ViewFile } from "./columns.ts";
import type { Coverage } from "./manifest.ts";
import type { LakeStream } from "./options.ts";
import { hourMs, type StreamBlock } from "./row-source.ts";

/** A log of the stream. */
export interface TailLog {
  readonly info: LogInfo;
  readonly partition: number;
  /** By writer: the position in files, the position read, the end that was last seen. */
  readonly channels: Map<number, { covered: number; read: number; end: number }>;
}

export class StreamTail {
  readonly stream: LakeStream;
  readonly signature: string;
  readonly select: string;
  readonly logs: TailLog[] = [];
  blocks: StreamBlock[] = [];
  /** At most so many rows: repeats are counted as well. */
  rows = 0;
  bytes = 0;
  readonly hours = new Set<number>();
  /** Files without durability for the first `hotBlocks` blocks, for queries. */
  hot: ViewFile[] = [];
  hotBlocks = 0;

  constructor(stream: LakeStream) {
    this.stream = stream;
    const columns = columnsOf(stream);
    this.signature = signatureOf(columns);
    this.select = selectOf(columns);
  }

  /** Takes the next block of a channel. */
  add(log: TailLog, writer: number, bytes: Uint8Array): void {
    const header = readBlockHeader(bytes);
    const channel = log.channels.get(writer);
    if (channel === undefined) return;
    const before = header.sequence + header.recordCount;
    if (before <= channel.read) return;
    if (header.kind === blockKind.events) {
      this.blocks.push({ bytes, partition: log.partition, fromSequence: channel.read });
      this.rows += before - Math.max(channel.read, header.sequence);
      this.bytes += bytes.byteLength;
      for (let hour = Math.floor(header.earliestMs / hourMs); hour <= Math.floor(header.latestMs / hourMs); hour++)
        this.hours.add(hour);
    }
    channel.read = before;
  }

  /** What has been read and is in no file. */
  coverage(): Coverage[] {
    return this.logs.flatMap(({ info, channels }) =>
      [...channels]
        .filter(([, channel]) => channel.read > channel.covered)
        .map(([writer, channel]) => [info.name, writer, channel.covered, channel.read] as const),
    );
  }

  /** Forgets what is now in files. */
  clear(): void {
    for (const { channels } of this.logs) for (const channel of channels.values()) channel.covered = channel.read;
    this.blocks = [];
    this.rows = 0;
    this.bytes = 0;
    this.hours.clear();
    this.hot = [];
    this.hotBlocks = 0;
  }
}
