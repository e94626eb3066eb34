/** UTF-8 of short text, which is nearly always ASCII: a loop costs a tenth of what `TextEncoder` does for a key or an id. */
import { transientBytes } from "./transient.ts";

const encoder = new TextEncoder();

/** Up to this many characters the loop is tried first. */
const shortLength = 320;

/** The text's bytes, in an array of their own. */
export const utf8Bytes = (text: string): Uint8Array => encode(text, newBytes);

/** The text's bytes, for what is short-lived only. */
export const utf8Transient = (text: string): Uint8Array => encode(text, transientBytes);

const newBytes = (byteLength: number): Uint8Array => new Uint8Array(byteLength);

const encode = (text: string, room: (byteLength: number) => Uint8Array): Uint8Array => {
  const { length } = text;
  if (length > shortLength) return encoder.encode(text);
  const bytes = room(length);
  for (let at = 0; at < length; at++) {
    const unit = text.charCodeAt(at);
    if (unit >= 0x80) return encoder.encode(text);
    bytes[at] = unit;
  }
  return bytes;
};

/** Most bytes that the text can take. */
export const utf8BytesMax = (text: string): number => text.length * 3;

/** Writes the text at `at`, where there is room for {@link utf8BytesMax}; returns the offset behind it. */
export const writeUtf8 = (out: Uint8Array, at: number, text: string): number => {
  const { length } = text;
  if (length <= shortLength) {
    let index = 0;
    for (; index < length; index++) {
      const unit = text.charCodeAt(index);
      if (unit >= 0x80) break;
      out[at + index] = unit;
    }
    if (index === length) return at + length;
  }
  return at + encoder.encodeInto(text, out.subarray(at)).written;
};
