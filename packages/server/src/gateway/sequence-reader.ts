/**
 * Reads `hr-epoch` and `hr-seq` from the property list of a PUBLISH where it stands, without making strings: the usual case of a device that
 * numbers its messages. Whatever is not exactly that is left to the decoder.
 */

const name = (text: string): Uint8Array => new TextEncoder().encode(text);
const epochName = name("hr-epoch");
const sequenceName = name("hr-seq");
const userProperty = 0x26;
const epochMax = 2 ** 32 - 1;
/** With more digits a number may not be exact. */
const digitsMax = 15;

export class SequenceReader {
  epoch = -1;
  sequence = -1;

  /** True when the list holds a sequence, perhaps an epoch, and nothing else; the fields say which. */
  read(bytes: Uint8Array, start: number, end: number): boolean {
    this.epoch = 0;
    this.sequence = -1;
    let seen = 0;
    for (let at = start; at < end; ) {
      if (at + 3 > end || bytes[at] !== userProperty) return false;
      const nameEnd = at + 3 + ((bytes[at + 1] << 8) | bytes[at + 2]);
      if (nameEnd + 2 > end) return false;
      const valueStart = nameEnd + 2;
      const valueEnd = valueStart + ((bytes[nameEnd] << 8) | bytes[nameEnd + 1]);
      if (valueEnd > end) return false;
      const value = wholeNumber(bytes, valueStart, valueEnd);
      if (value < 0) return false;
      if ((seen & 1) === 0 && isName(bytes, at + 3, nameEnd, epochName)) {
        if (value > epochMax) return false;
        this.epoch = value;
        seen |= 1;
      } else if ((seen & 2) === 0 && isName(bytes, at + 3, nameEnd, sequenceName)) {
        this.sequence = value;
        seen |= 2;
      } else return false;
      at = valueEnd;
    }
    return this.sequence >= 0;
  }
}

const isName = (bytes: Uint8Array, start: number, end: number, wanted: Uint8Array): boolean => {
  if (end - start !== wanted.length) return false;
  for (let index = 0; index < wanted.length; index++) if (bytes[start + index] !== wanted[index]) return false;
  return true;
};

const wholeNumber = (bytes: Uint8Array, start: number, end: number): number => {
  if (start === end || end - start > digitsMax) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at] - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
};
