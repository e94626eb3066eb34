import {
  deviceSequenceBytes,
  type EventProperties,
  eventSection,
  recordFlag,
  recordHeaderBytes,
} from "./event-format.ts";
import { type BlockHeader, corrupt, getUint53, readBlockHeader, readSections, viewOf } from "./header.ts";
import { decodeProperties } from "./properties.ts";

const decoder = new TextDecoder();

const recordCut = (at: number): Error => corrupt(`the record at byte ${at} of a block is cut`);

/**
 * Walks the events of one block without making an object per event: call {@link next}, then read the fields.
 *
 * @example
 * ```ts
 * const reader = new EventBlockReader(block);
 * while (reader.next()) if (!reader.repeated) console.log(reader.sequence, reader.topic, reader.payload);
 * ```
 */
export class EventBlockReader {
  readonly header: BlockHeader;
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #stringStarts: number[] = [];
  readonly #stringEnds: number[] = [];
  readonly #texts: (string | undefined)[] = [];
  readonly #recordsEnd: number;
  #nextAt: number;
  #propertiesStart = 0;
  #propertiesEnd = 0;
  #index = -1;
  /** Offset of the current record in the block. */
  recordStart = 0;
  flags = 0;
  topicIndex = 0;
  keyIndex = 0;
  clientIndex = 0;
  arrivalMs = 0;
  payloadStart = 0;
  payloadEnd = 0;
  deviceEpoch = -1;
  deviceSequence = -1;

  constructor(block: Uint8Array, header: BlockHeader = readBlockHeader(block)) {
    this.header = header;
    this.bytes = block;
    this.#view = viewOf(block);
    let recordsStart = -1;
    let recordsEnd = -1;
    for (const section of readSections(block, header)) {
      if (section.type === eventSection.records) {
        recordsStart = section.start;
        recordsEnd = section.end;
      } else if (section.type === eventSection.strings) this.#indexStrings(section.start, section.end);
    }
    if (recordsStart < 0) throw corrupt("an events block has no records section");
    this.#nextAt = recordsStart;
    this.#recordsEnd = recordsEnd;
  }

  #indexStrings(start: number, end: number): void {
    const cut = (): Error => corrupt("the strings of an events block are cut");
    if (start + 4 > end) throw cut();
    const count = this.#view.getUint32(start, true);
    let at = start + 4;
    for (let index = 0; index < count; index++) {
      if (at + 2 > end) throw cut();
      const stringEnd = at + 2 + this.#view.getUint16(at, true);
      if (stringEnd > end) throw cut();
      this.#stringStarts.push(at + 2);
      this.#stringEnds.push(stringEnd);
      at = stringEnd;
    }
  }

  /** Number of strings of the block: bound of the `…Index` fields. */
  get stringCount(): number {
    return this.#stringStarts.length;
  }

  /** One string of the block, decoded once. */
  string(index: number): string {
    let text = this.#texts[index];
    if (text === undefined) {
      if (index >= this.#stringStarts.length)
        throw corrupt(`a record names string ${index}, which its block does not have`);
      text = decoder.decode(this.bytes.subarray(this.#stringStarts[index], this.#stringEnds[index]));
      this.#texts[index] = text;
    }
    return text;
  }

  /** Where the bytes of a string start in the block, for readers that copy bytes instead of making text. */
  stringStart(index: number): number {
    return this.#stringStarts[index];
  }
  /** Where the bytes of a string end in the block. */
  stringEnd(index: number): number {
    return this.#stringEnds[index];
  }

  /** Moves to the next record; false at the end. */
  next(): boolean {
    const at = this.#nextAt;
    if (at >= this.#recordsEnd) return false;
    const view = this.#view;
    if (at + recordHeaderBytes > this.#recordsEnd) throw recordCut(at);
    const recordBytes = view.getUint32(at, true);
    const flags = view.getUint8(at + 4);
    const contentBytes =
      flags & recordFlag.deviceSequence ? recordHeaderBytes + deviceSequenceBytes : recordHeaderBytes;
    if (recordBytes < contentBytes || at + recordBytes > this.#recordsEnd) throw recordCut(at);
    this.recordStart = at;
    this.flags = flags;
    this.topicIndex = view.getUint16(at + 6, true);
    this.keyIndex = view.getUint16(at + 8, true);
    this.clientIndex = view.getUint16(at + 10, true);
    this.arrivalMs = this.header.earliestMs + view.getUint32(at + 12, true);
    let start = at + recordHeaderBytes;
    if (flags & recordFlag.deviceSequence) {
      this.deviceEpoch = view.getUint32(start, true);
      this.deviceSequence = getUint53(view, start + 8);
      start += deviceSequenceBytes;
    } else this.deviceEpoch = this.deviceSequence = -1;
    this.payloadStart = start;
    this.payloadEnd = start + view.getUint32(at + 16, true);
    this.#propertiesStart = this.payloadEnd;
    this.#propertiesEnd = this.payloadEnd + view.getUint32(at + 20, true);
    if (this.#propertiesEnd > at + recordBytes) throw recordCut(at);
    this.#nextAt = at + recordBytes;
    this.#index++;
    return true;
  }

  /** Sequence of the current record in its channel. */
  get sequence(): number {
    return this.header.sequence + this.#index;
  }
  /** True for a repeat that was recognised: it counts as consumed and is passed over. */
  get repeated(): boolean {
    return (this.flags & recordFlag.repeated) !== 0;
  }
  get qos(): number {
    return this.flags & recordFlag.qosMask;
  }
  get topic(): string {
    return this.string(this.topicIndex);
  }
  get key(): string {
    return this.string(this.keyIndex);
  }
  get client(): string {
    return this.string(this.clientIndex);
  }
  /** The payload's bytes, a view of the block. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.payloadStart, this.payloadEnd);
  }
  get hasProperties(): boolean {
    return this.#propertiesEnd > this.#propertiesStart;
  }
  /** The packed properties, a view of the block. */
  get propertiesBytes(): Uint8Array {
    return this.bytes.subarray(this.#propertiesStart, this.#propertiesEnd);
  }
  properties(): EventProperties {
    return decodeProperties(this.propertiesBytes);
  }
}
