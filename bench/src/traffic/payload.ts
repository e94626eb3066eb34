/**
 * Payloads with numbers at fixed places, so that a subscriber reads them by their offset:
 * `{"c":1000007,"n":1000000042,"t":100000123456,"x":"…"}`: publisher, number of its message, time in µs. A first digit
 * 1 keeps leading zeros away.
 */

const zero = 48;
const places = { c: { at: 5, digits: 7 }, n: { at: 17, digits: 10 }, t: { at: 32, digits: 12 } } as const;
const firstOf = { c: 1_000_000, n: 1_000_000_000, t: 100_000_000_000 } as const;

type Place = keyof typeof places;

export function payloadOf(publisher: number, bytes: number): Buffer {
  const text = `{"c":${firstOf.c + publisher},"n":${firstOf.n},"t":${firstOf.t},"x":"`;
  return Buffer.from(`${text}${"x".repeat(bytes - text.length - 2)}"}`);
}

/** Writes a number over the digits of the payload that begins at `start`. */
export function writeNumber(bytes: Uint8Array, start: number, place: Place, value: number): void {
  const { at, digits } = places[place];
  for (let left = value, index = start + at + digits - 1; index > start + at; index -= 1) {
    const rest = Math.floor(left / 10);
    bytes[index] = zero + left - rest * 10;
    left = rest;
  }
}

export function readNumber(bytes: Uint8Array, start: number, place: Place): number {
  const { at, digits } = places[place];
  let value = 0;
  for (let index = start + at + 1; index < start + at + digits; index += 1) value = value * 10 + bytes[index]! - zero;
  return value;
}
