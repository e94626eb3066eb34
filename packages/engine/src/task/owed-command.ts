/**
 * A command as a function owes it and the outbox keeps it: written once, by the function's task, in pieces from which the payload for the
 * device and the rows of its life cycle are cut without being read. Little-endian (docs/reference/formats.md):
 *
 *   u8 1 · u8 flags (1: the key is the device) · u16 bytes of the id · u16 of the name · u16 of the device, as JSON text without its quotes ·
 *   u32 bytes of the head · u32 bytes of head and body · f64 deadline, ms since the epoch · the text
 *
 * The text is one JSON object: head `{"id":…,"name":…,"args":…`, body `,"device":…,"deadlineMs":…`, tail `,"key":…,"function":…}`.
 */
import { HeadraceError } from "@headrace/sdk";
import { viewOf } from "../block/header.ts";
import { transientBytes, transientCopy } from "../block/transient.ts";
import { utf8Bytes, utf8BytesMax, writeUtf8 } from "../block/utf8.ts";
import { effectBytesMax, stringify } from "./json-text.ts";
import type { Effect } from "./spec.ts";

const recordKind = 1;
const keyIsDevice = 1;
const textStart = 24;
const idStart = textStart + '{"id":"'.length;
const nameGap = '","name":"'.length;
const deviceGap = ',"device":"'.length;

/** Three bytes each at most, and their number is stored in 16 bits. */
const partLengthMax = 21_845;

const decoder = new TextDecoder();

/** What a command is made of. */
export interface CommandFields {
  readonly id: string;
  readonly device: string;
  readonly name: string;
  readonly args: unknown;
  /** Ms since the epoch. */
  readonly deadlineMs: number;
  /** Key of the event that asked for it: its life cycle goes there. */
  readonly key: string;
}

let scratch = new Uint8Array(4096);

/** The record of a command, until its commit has taken it. @throws HR_STATE_INVALID when it exceeds the size of an effect */
export const packCommand = (command: CommandFields, functionName: string): Uint8Array => {
  const { id, device, name, args, deadlineMs, key } = command;
  const argsText = stringify(args) ?? "null";
  const [idText, nameText, deviceText] = [JSON.stringify(id), JSON.stringify(name), JSON.stringify(device)];
  const tail = `,"key":${JSON.stringify(key)},"function":${JSON.stringify(functionName)}}`;
  const bytesMax = 256 + utf8BytesMax(argsText + idText + nameText + deviceText + tail);
  if (bytesMax > scratch.byteLength) scratch = new Uint8Array(2 * bytesMax);
  const idEnd = writeUtf8(scratch, textStart, `{"id":${idText}`);
  const nameEnd = writeUtf8(scratch, idEnd, `,"name":${nameText}`);
  const argsStart = writeUtf8(scratch, nameEnd, `,"args":`);
  const headEnd = writeUtf8(scratch, argsStart, argsText);
  const deviceEnd = writeUtf8(scratch, headEnd, `,"device":${deviceText}`);
  const bodyEnd = writeUtf8(scratch, deviceEnd, `,"deadlineMs":${deadlineMs}`);
  const end = writeUtf8(scratch, bodyEnd, tail);
  if (end > effectBytesMax || Math.max(idText.length, nameText.length, deviceText.length) > partLengthMax) {
    throw new HeadraceError(
      "HR_STATE_INVALID",
      `a command of ${end} bytes, its name of ${name.length} characters, exceeds the limit of ${effectBytesMax} bytes and ${partLengthMax} characters`,
    );
  }
  const record = transientCopy(scratch, 0, end);
  const view = viewOf(record);
  view.setUint8(0, recordKind);
  view.setUint8(1, key === device ? keyIsDevice : 0);
  // Each without its closing quote.
  view.setUint16(2, idEnd - 1 - idStart, true);
  view.setUint16(4, nameEnd - idEnd - nameGap, true);
  view.setUint16(6, deviceEnd - 1 - headEnd - deviceGap, true);
  view.setUint32(8, headEnd - textStart, true);
  view.setUint32(12, bodyEnd - textStart, true);
  view.setFloat64(16, deadlineMs, true);
  return record;
};

/** Whether an effect's payload is the record of a command; anything else is JSON. */
export const isPackedCommand = (payload: Uint8Array): boolean =>
  payload.byteLength > textStart && payload[0] === recordKind;

/** JSON text without its quotes, as text: short ASCII without escapes is by far the most common. */
const textOf = (bytes: Uint8Array, start: number, end: number): string => {
  for (let at = start; at < end; at++) {
    const unit = bytes[at];
    if (unit >= 0x80 || unit === 0x5c || end - start > 256)
      return JSON.parse(`"${decoder.decode(bytes.subarray(start, end))}"`);
  }
  return String.fromCharCode.apply(undefined, bytes.subarray(start, end) as unknown as number[]);
};

/** The id of a packed command, which names its state. */
export const packedCommandId = (payload: Uint8Array): string =>
  textOf(payload, idStart, idStart + (payload[2] | (payload[3] << 8)));

const joined = (bytes: Uint8Array, start: number, end: number, tail: Uint8Array): Uint8Array => {
  const out = transientBytes(end - start + tail.byteLength);
  out.set(bytes.subarray(start, end));
  out.set(tail, end - start);
  return out;
};

/** An effect as it is owed, in plain words. */
export interface OwedEnvelope {
  readonly id: string;
  /** Key of the event that asked for it. */
  readonly key: string;
  readonly function: string;
  readonly effect: Effect;
}

/** Reads the payload of an effect, whether it is a packed command or JSON: other effects, and commands of version 0.1. */
export const readOwed = (payload: Uint8Array): OwedEnvelope => {
  if (!isPackedCommand(payload)) return JSON.parse(decoder.decode(payload)) as OwedEnvelope;
  const command = JSON.parse(decoder.decode(payload.subarray(textStart))) as CommandFields & { function: string };
  const { id, key, function: functionName, device, name, args, deadlineMs } = command;
  return { id, key, function: functionName, effect: { kind: "command", device, name, args, deadlineMs } };
};

const statusTails = new Map<string, Uint8Array>();

/** A command that is owed, over the bytes of its record. */
export class OwedCommand implements CommandFields {
  /** The record: {@link packCommand}. */
  readonly bytes: Uint8Array;
  readonly id: string;
  readonly device: string;
  readonly deadlineMs: number;
  readonly #headEnd: number;
  readonly #bodyEnd: number;

  /** @param bytes kept: a copy where the bytes belong to a block */
  constructor(bytes: Uint8Array, id = packedCommandId(bytes), device?: string) {
    const view = viewOf(bytes);
    this.bytes = bytes;
    this.id = id;
    this.#headEnd = textStart + view.getUint32(8, true);
    this.#bodyEnd = textStart + view.getUint32(12, true);
    this.deadlineMs = view.getFloat64(16, true);
    const deviceStart = this.#headEnd + deviceGap;
    this.device = device ?? textOf(bytes, deviceStart, deviceStart + view.getUint16(6, true));
  }

  get name(): string {
    const view = viewOf(this.bytes);
    const start = idStart + view.getUint16(2, true) + nameGap;
    return textOf(this.bytes, start, start + view.getUint16(4, true));
  }
  get key(): string {
    return (this.bytes[1] & keyIsDevice) !== 0 ? this.device : this.#parsed().key;
  }
  get args(): unknown {
    return this.#parsed().args;
  }
  #parsed(): CommandFields {
    return JSON.parse(decoder.decode(this.bytes.subarray(textStart)));
  }

  /** What the device gets: `{id, name, args, deadline}`; short-lived, as rows are. */
  get payload(): Uint8Array {
    return joined(this.bytes, textStart, this.#headEnd, utf8Bytes(`,"deadline":${this.deadlineMs}}`));
  }

  /** A row of its life cycle: `{id, name, args, device, deadlineMs, status}` and `more`, which is JSON fields after a comma. */
  row(status: string, more = ""): Uint8Array {
    let tail = more === "" ? statusTails.get(status) : undefined;
    if (!tail) {
      tail = utf8Bytes(`,"status":"${status}"${more}}`);
      if (more === "") statusTails.set(status, tail);
    }
    return joined(this.bytes, textStart, this.#bodyEnd, tail);
  }
}
