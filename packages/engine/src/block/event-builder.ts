import { HeadraceError } from "@headrace/sdk";
import type { Checksum } from "./crc32c.ts";
import { deviceSequenceBytes, eventSection, recordFlag, recordHeaderBytes } from "./event-format.ts";
import { blockBytesMax, blockHeaderBytes, blockKind, padded, sealBlock, setUint53, viewOf } from "./header.ts";
import { utf8Bytes } from "./utf8.ts";

/** Their lengths are stored in 16 bits. */
const stringBytesMax = 65_535;

/**
 * A string that goes into many blocks (a topic, a key, a client id), with its place in the block that is open now.
 * Holding on to one of these makes naming the string in a record a comparison instead of a look-up.
 */
export class InternedString {
  readonly text: string;
  readonly bytes: Uint8Array;
  /** The block that `index` is valid in. */
  stamp = 0;
  index = 0;

  /** @throws HR_EVENT_TOO_LARGE beyond 65,535 bytes */
  constructor(text: string) {
    this.text = text;
    this.bytes = utf8Bytes(text);
    if (this.bytes.byteLength > stringBytesMax) {
      throw new HeadraceError(
        "HR_EVENT_TOO_LARGE",
        `a topic, key or client id of ${this.bytes.byteLength} bytes exceeds the limit of ${stringBytesMax}`,
      );
    }
  }
}

/** Counts opened blocks over all builders, so that a stamp names one block for ever. */
let lastStamp = 0;

const recordsStart = blockHeaderBytes + 8;
const stringsMax = 65_535;
const noBytes = new Uint8Array(0);

/**
 * Packs events into one block at a time: `append` until it returns false, then `seal`, then `reset` once the sealed bytes are no longer needed.
 * The buffer is made once and used again; `seal` returns a view of it.
 */
export class EventBlockBuilder {
  readonly capacityBytes: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #strings: Uint8Array[] = [];
  #indexes = new Map<string, number>();
  #stringBytes = 4;
  #stamp = ++lastStamp;
  #end = recordsStart;
  recordCount = 0;
  earliestMs = 0;
  latestMs = 0;
  /** True when a record carries a device sequence, so that only such blocks are checked for repeats. */
  hasDeviceSequences = false;

  /** @param capacityBytes size of the largest block it makes; default 256 KiB, at most {@link blockBytesMax} */
  constructor(capacityBytes = 256 * 1024) {
    this.capacityBytes = Math.min(capacityBytes, blockBytesMax);
    this.#bytes = new Uint8Array(this.capacityBytes);
    this.#view = viewOf(this.#bytes);
  }

  /** Bytes of the block if it were sealed now. */
  get byteLength(): number {
    return this.#end + 8 + padded(this.#stringBytes);
  }

  #indexOf(string: InternedString): number {
    if (string.stamp === this.#stamp) return string.index;
    let index = this.#indexes.get(string.text);
    if (index === undefined) {
      index = this.#strings.length;
      this.#strings.push(string.bytes);
      this.#indexes.set(string.text, index);
      this.#stringBytes += 2 + string.bytes.byteLength;
    }
    string.stamp = this.#stamp;
    string.index = index;
    return index;
  }

  /**
   * Adds one event. Returns false, with nothing changed, when the block has no room: seal it and append again.
   * @param deviceEpoch with `deviceSequence`, both -1 when the device sends none
   * @throws HR_EVENT_TOO_LARGE when the event does not fit an empty block
   */
  append(
    topic: InternedString,
    key: InternedString,
    client: InternedString,
    flags: number,
    arrivalMs: number,
    source: Uint8Array,
    payloadStart: number,
    payloadEnd: number,
    properties: Uint8Array = noBytes,
    deviceEpoch = -1,
    deviceSequence = -1,
  ): boolean {
    const payloadBytes = payloadEnd - payloadStart;
    const sequenced = deviceSequence >= 0;
    const contentStart = recordHeaderBytes + (sequenced ? deviceSequenceBytes : 0);
    const recordBytes = padded(contentStart + payloadBytes + properties.byteLength);
    const stringsAtMost =
      this.#stringBytes + 6 + topic.bytes.byteLength + key.bytes.byteLength + client.bytes.byteLength;
    if (this.#end + recordBytes + 16 + stringsAtMost > this.capacityBytes || this.#strings.length + 3 > stringsMax) {
      if (this.recordCount === 0) {
        throw new HeadraceError(
          "HR_EVENT_TOO_LARGE",
          `an event of ${recordBytes} bytes does not fit a block of ${this.capacityBytes} bytes`,
        );
      }
      return false;
    }
    if (this.recordCount === 0) this.earliestMs = this.latestMs = arrivalMs;
    else if (arrivalMs > this.latestMs) this.latestMs = arrivalMs;
    const at = this.#end;
    const view = this.#view;
    view.setUint32(at, recordBytes, true);
    view.setUint16(at + 4, sequenced ? flags | recordFlag.deviceSequence : flags, true);
    view.setUint16(at + 6, this.#indexOf(topic), true);
    view.setUint16(at + 8, this.#indexOf(key), true);
    view.setUint16(at + 10, this.#indexOf(client), true);
    // The wall clock may step back inside a block: a record is then given the block's earliest time.
    view.setUint32(at + 12, arrivalMs > this.earliestMs ? arrivalMs - this.earliestMs : 0, true);
    view.setUint32(at + 16, payloadBytes, true);
    view.setUint32(at + 20, properties.byteLength, true);
    if (sequenced) {
      view.setUint32(at + 24, deviceEpoch, true);
      view.setUint32(at + 28, 0, true);
      setUint53(view, at + 32, deviceSequence);
      this.hasDeviceSequences = true;
    }
    const bytes = this.#bytes;
    let to = at + contentStart;
    if (payloadBytes < 48) for (let from = payloadStart; from < payloadEnd; from++) bytes[to++] = source[from];
    else {
      bytes.set(source.subarray(payloadStart, payloadEnd), to);
      to += payloadBytes;
    }
    if (properties.byteLength > 0) {
      bytes.set(properties, to);
      to += properties.byteLength;
    }
    const end = at + recordBytes;
    while (to < end) bytes[to++] = 0;
    this.#end = end;
    this.recordCount++;
    return true;
  }

  /** Finishes the block. The result is a view of the builder's buffer, valid until {@link reset}. */
  seal(place: { logId: number; writer: number; epoch: number; sequence: number }, checksum: Checksum): Uint8Array {
    const bytes = this.#bytes;
    const view = this.#view;
    view.setUint32(blockHeaderBytes, eventSection.records, true);
    view.setUint32(blockHeaderBytes + 4, this.#end - recordsStart, true);
    let at = this.#end;
    const byteLength = this.byteLength;
    view.setUint32(at, eventSection.strings, true);
    view.setUint32(at + 4, this.#stringBytes, true);
    view.setUint32(at + 8, this.#strings.length, true);
    at += 12;
    for (const string of this.#strings) {
      view.setUint16(at, string.byteLength, true);
      bytes.set(string, at + 2);
      at += 2 + string.byteLength;
    }
    bytes.fill(0, at, byteLength);
    const block = bytes.subarray(0, byteLength);
    sealBlock(
      block,
      {
        ...place,
        recordCount: this.recordCount,
        earliestMs: this.earliestMs,
        latestMs: this.latestMs,
        kind: blockKind.events,
      },
      checksum,
    );
    return block;
  }

  /** Makes the builder ready for the next block; bytes returned by {@link seal} are overwritten from here on. */
  reset(): void {
    this.#strings = [];
    this.#indexes.clear();
    this.#stringBytes = 4;
    this.#stamp = ++lastStamp;
    this.#end = recordsStart;
    this.recordCount = 0;
    this.hasDeviceSequences = false;
  }
}
