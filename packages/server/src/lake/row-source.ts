/**
 * Blocks as rows of DuckDB: the table function `blocks()`, which COPY reads straight from, without a table in between.
 *
 * There is no native call per value. The text of a column is gathered in one byte buffer per chunk of 2,048 rows and handed
 * to the column's vector as one value, whose address DuckDB then tells us; the values themselves are written as
 * `duckdb_string_t` (the public layout of its C interface: u32 length, then up to 12 bytes inline, or a 4-byte prefix and a
 * 64-bit address) that point into it. The text belongs to the vector, so it lives as long as whatever refers to it.
 */
import { isUtf8 } from "node:buffer";
import {
  BIGINT,
  BOOLEAN,
  type DuckDBConnection,
  type DuckDBDataChunk,
  DuckDBTableFunction,
  INTEGER,
  TIMESTAMPTZ,
  VARCHAR,
} from "@duckdb/node-api";
import duckdb from "@duckdb/node-bindings";
import { EventBlockReader } from "@headrace/engine";
import { guarded, isStopping } from "./exit-guard.ts";

const chunkRows = 2048;
/** A chunk is closed early when its payloads are larger than this, so that large payloads cannot make it grow without bound. */
const chunkPayloadBytes = 1024 * 1024;
const inlineBytes = 12;
const slackBytes = 16;
const twoTo32 = 4294967296;
export const hourMs = 3_600_000;

/** A block, or the part of it from `fromSequence` on, of a stream's partition. */
export interface StreamBlock {
  readonly bytes: Uint8Array;
  readonly partition: number;
  readonly fromSequence: number;
}

/** The columns of `blocks()`. `textual` is false where `payload` is the base64 of bytes that are not UTF-8. */
const columns = [
  ["time", TIMESTAMPTZ],
  ["device", VARCHAR],
  ["topic", VARCHAR],
  ["client", VARCHAR],
  ["partition", INTEGER],
  ["writer", BIGINT],
  ["sequence", BIGINT],
  ["payload", VARCHAR],
  ["textual", BOOLEAN],
] as const;
const place = { time: 0, device: 1, topic: 2, client: 3, partition: 4, writer: 5, sequence: 6, payload: 7, textual: 8 };

/** Bytes of text, of which ranges are the values of a chunk's rows. Behind the end there are always {@link slackBytes} that may be read. */
class Text {
  bytes: Uint8Array;
  end = 0;

  constructor(capacityBytes: number) {
    this.bytes = new Uint8Array(capacityBytes);
  }

  put(source: Uint8Array, start: number, end: number): number {
    const at = this.end;
    const length = end - start;
    if (at + length + slackBytes > this.bytes.byteLength) {
      const larger = new Uint8Array((at + length) * 2 + slackBytes);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    const bytes = this.bytes;
    if (length < 48) for (let from = start, to = at; from < end; ) bytes[to++] = source[from++];
    else bytes.set(source.subarray(start, end), at);
    this.end = at + length;
    return at;
  }
}

class Ranges {
  readonly starts = new Uint32Array(chunkRows);
  readonly lengths = new Uint32Array(chunkRows);
}

/** The table function `blocks()` of one connection. One COPY at a time may read it. */
export class RowSource {
  readonly #names = new Text(64 * 1024);
  readonly #payloads = new Text(chunkPayloadBytes + 64 * 1024);
  readonly #device = new Ranges();
  readonly #topic = new Ranges();
  readonly #client = new Ranges();
  readonly #payload = new Ranges();
  readonly #times = new Uint32Array(chunkRows * 2);
  readonly #partitions = new Int32Array(chunkRows);
  readonly #writers = new Uint32Array(chunkRows * 2);
  readonly #sequences = new Uint32Array(chunkRows * 2);
  readonly #textual = new Uint8Array(chunkRows);
  readonly #words = new Uint32Array(chunkRows * 4);
  #blocks: readonly StreamBlock[] = [];
  #hour = 0;
  #nextBlock = 0;
  #reader: EventBlockReader | undefined;
  /** Of the block being read, by string: where it stands in `#names`, -1 when it does not yet, and its length. */
  #nameStarts = new Int32Array(0);
  #nameLengths = new Int32Array(0);
  #failure: unknown;
  readonly #exitFlags: Int32Array;

  constructor(connection: DuckDBConnection, exitFlags: Int32Array) {
    this.#exitFlags = exitFlags;
    connection.registerTableFunction(
      DuckDBTableFunction.create({
        name: "blocks",
        bindFunction: (info) => {
          for (const [name, type] of columns) info.addResultColumn(name, type);
        },
        initFunction: (info) => info.setMaxThreads(1),
        mainFunction: (info, chunk) => {
          try {
            if (isStopping(exitFlags)) throw new Error("the process ends");
            this.#fill(chunk);
          } catch (error) {
            this.#failure = error;
            info.setError(String(error));
          }
        },
      }),
    );
  }

  /** Runs `use`, in which one query may read `blocks()`: the rows of `blocks` that arrived in the hour (hours since the epoch). */
  async with<T>(blocks: readonly StreamBlock[], hour: number, use: () => Promise<T>): Promise<T> {
    this.#blocks = blocks;
    this.#hour = hour;
    this.#nextBlock = 0;
    this.#reader = undefined;
    this.#failure = undefined;
    try {
      return await guarded(this.#exitFlags, use);
    } catch (error) {
      throw this.#failure ?? error;
    } finally {
      this.#blocks = [];
      this.#reader = undefined;
    }
  }

  /** Opens the next block that can hold rows of the hour; false at the end. */
  #openBlock(): boolean {
    while (this.#nextBlock < this.#blocks.length) {
      const reader = new EventBlockReader(this.#blocks[this.#nextBlock++].bytes);
      const { earliestMs, latestMs } = reader.header;
      if (Math.floor(earliestMs / hourMs) > this.#hour || Math.floor(latestMs / hourMs) < this.#hour) continue;
      this.#reader = reader;
      this.#nameStarts = new Int32Array(reader.stringCount).fill(-1);
      this.#nameLengths = Int32Array.from(
        this.#nameStarts,
        (_, index) => reader.stringEnd(index) - reader.stringStart(index),
      );
      return true;
    }
    this.#reader = undefined;
    return false;
  }

  #fill(chunk: DuckDBDataChunk): void {
    this.#names.end = this.#payloads.end = 0;
    this.#nameStarts.fill(-1);
    const device = this.#device;
    const topic = this.#topic;
    const client = this.#client;
    const hourStartMs = this.#hour * hourMs;
    const hourEndMs = hourStartMs + hourMs;
    let row = 0;
    while (row < chunkRows && this.#payloads.end < chunkPayloadBytes) {
      if (this.#reader === undefined && !this.#openBlock()) break;
      const reader = this.#reader as EventBlockReader;
      if (!reader.next()) {
        this.#reader = undefined;
        continue;
      }
      const { arrivalMs } = reader;
      const { partition, fromSequence } = this.#blocks[this.#nextBlock - 1];
      const sequence = reader.sequence;
      if (sequence < fromSequence || reader.repeated || arrivalMs < hourStartMs || arrivalMs >= hourEndMs) continue;
      const { keyIndex, topicIndex, clientIndex } = reader;
      const starts = this.#nameStarts;
      const lengths = this.#nameLengths;
      device.starts[row] = starts[keyIndex] >= 0 ? starts[keyIndex] : this.#putName(keyIndex);
      device.lengths[row] = lengths[keyIndex];
      topic.starts[row] = starts[topicIndex] >= 0 ? starts[topicIndex] : this.#putName(topicIndex);
      topic.lengths[row] = lengths[topicIndex];
      client.starts[row] = starts[clientIndex] >= 0 ? starts[clientIndex] : this.#putName(clientIndex);
      client.lengths[row] = lengths[clientIndex];
      this.#payload.starts[row] = this.#payloads.put(reader.bytes, reader.payloadStart, reader.payloadEnd);
      this.#payload.lengths[row] = reader.payloadEnd - reader.payloadStart;
      putUint53(this.#times, row, arrivalMs * 1000);
      putUint53(this.#sequences, row, sequence);
      this.#writers[row * 2] = reader.header.writer;
      this.#partitions[row] = partition;
      row++;
    }
    chunk.rowCount = row;
    if (row > 0) this.#write(chunk, row);
  }

  #putName(index: number): number {
    const reader = this.#reader as EventBlockReader;
    const start = this.#names.put(reader.bytes, reader.stringStart(index), reader.stringEnd(index));
    this.#nameStarts[index] = start;
    return start;
  }

  #write(chunk: DuckDBDataChunk, rows: number): void {
    this.#checkNames(rows);
    this.#checkPayloads(rows);
    this.#copyText(chunk, place.device, this.#names, this.#device, rows);
    this.#copyText(chunk, place.topic, this.#names, this.#topic, rows);
    this.#copyText(chunk, place.client, this.#names, this.#client, rows);
    this.#copyText(chunk, place.payload, this.#payloads, this.#payload, rows);
    copy(chunk, place.time, this.#times, rows * 8);
    copy(chunk, place.partition, this.#partitions, rows * 4);
    copy(chunk, place.writer, this.#writers, rows * 8);
    copy(chunk, place.sequence, this.#sequences, rows * 8);
    copy(chunk, place.textual, this.#textual, rows);
  }

  #copyText(chunk: DuckDBDataChunk, index: number, text: Text, { starts, lengths }: Ranges, rows: number): void {
    const vector = duckdb.data_chunk_get_vector(chunk.chunk, index);
    // A value of at most 12 bytes would stand inline and have no address; the zeros behind the text are never referred to.
    const shared = Math.max(text.end, inlineBytes + 4);
    if (text.end < shared) text.bytes.fill(0, text.end, shared);
    duckdb.vector_assign_string_element_len(vector, 0, text.bytes.subarray(0, shared));
    const first = duckdb.vector_get_data(vector, 16);
    const base = Number(new DataView(first.buffer, first.byteOffset, 16).getBigUint64(8, true));
    const view = new DataView(text.bytes.buffer);
    const words = this.#words;
    const baseHigh = Math.floor(base / twoTo32);
    const baseLow = base - baseHigh * twoTo32;
    for (let row = 0, at = 0; row < rows; row++, at += 4) {
      const length = lengths[row];
      const start = starts[row];
      words[at] = length;
      if (length > inlineBytes) {
        const low = baseLow + start;
        words[at + 1] = view.getUint32(start, true);
        words[at + 2] = low;
        words[at + 3] = low < twoTo32 ? baseHigh : baseHigh + 1;
      } else {
        words[at + 1] = view.getUint32(start, true) & lowBytes(length);
        words[at + 2] = view.getUint32(start + 4, true) & lowBytes(length - 4);
        words[at + 3] = view.getUint32(start + 8, true) & lowBytes(length - 8);
      }
    }
    copy(chunk, index, words, rows * 16);
  }

  /** DuckDB trusts that text is UTF-8: names that are not get replacement characters. */
  #checkNames(rows: number): void {
    const all = [this.#device, this.#topic, this.#client];
    if (isText(this.#names, all, rows)) return;
    for (const ranges of all) for (let row = 0; row < rows; row++) replaceUnlessUtf8(this.#names, ranges, row, "utf8");
  }

  #checkPayloads(rows: number): void {
    this.#textual.fill(1, 0, rows);
    if (isText(this.#payloads, [this.#payload], rows)) return;
    for (let row = 0; row < rows; row++) {
      if (replaceUnlessUtf8(this.#payloads, this.#payload, row, "base64")) this.#textual[row] = 0;
    }
  }
}

/** One check of the whole buffer is enough if no value starts inside a character. */
const isText = (text: Text, columns: readonly Ranges[], rows: number): boolean => {
  const { bytes } = text;
  if (!isUtf8(bytes.subarray(0, text.end))) return false;
  for (const { starts, lengths } of columns) {
    for (let row = 0; row < rows; row++) if (lengths[row] > 0 && (bytes[starts[row]] & 0xc0) === 0x80) return false;
  }
  return true;
};

const replaceUnlessUtf8 = (
  text: Text,
  { starts, lengths }: Ranges,
  row: number,
  encoding: "utf8" | "base64",
): boolean => {
  const value = text.bytes.subarray(starts[row], starts[row] + lengths[row]);
  if (isUtf8(value)) return false;
  const replacement = Buffer.from(Buffer.from(value).toString(encoding));
  // The broken bytes must go as well: the text is handed over as one value.
  value.fill(0x3f);
  starts[row] = text.put(replacement, 0, replacement.byteLength);
  lengths[row] = replacement.byteLength;
  return true;
};

const copy = (
  chunk: DuckDBDataChunk,
  index: number,
  source: Uint32Array | Int32Array | Uint8Array,
  byteLength: number,
): void =>
  duckdb.copy_data_to_vector(
    duckdb.data_chunk_get_vector(chunk.chunk, index),
    0,
    source.buffer as ArrayBuffer,
    0,
    byteLength,
  );

/** Mask of the first `count` bytes of a little-endian word. */
const lowBytes = (count: number): number => (count >= 4 ? -1 : count <= 0 ? 0 : (1 << (count * 8)) - 1);

const putUint53 = (words: Uint32Array, index: number, value: number): void => {
  words[index * 2] = value >>> 0;
  words[index * 2 + 1] = Math.floor(value / twoTo32);
};
