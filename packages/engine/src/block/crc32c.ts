/**
 * CRC32C (Castagnoli, RFC 3720 appendix B.4), slicing by eight. It is the portable implementation; the server hands
 * the log one that uses the processor's instruction, and a test holds both to the same values.
 */

/** Computes CRC32C of `bytes`, continuing from `crc` (0 to start). */
export type Checksum = (bytes: Uint8Array, crc?: number) => number;

const polynomialReflected = 0x82f63b78;

const tables: Uint32Array[] = (() => {
  const made = Array.from({ length: 8 }, () => new Uint32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomialReflected : crc >>> 1;
    made[0][byte] = crc >>> 0;
  }
  for (let byte = 0; byte < 256; byte++) {
    for (let slice = 1; slice < 8; slice++) {
      const previous = made[slice - 1][byte];
      made[slice][byte] = (made[0][previous & 0xff] ^ (previous >>> 8)) >>> 0;
    }
  }
  return made;
})();
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables;

/** Portable CRC32C; see {@link Checksum}. */
export const crc32c: Checksum = (bytes, crc = 0) => {
  let value = ~crc >>> 0;
  let at = 0;
  const wideEnd = bytes.length - (bytes.length % 8);
  for (; at < wideEnd; at += 8) {
    const low = value ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
    value =
      t7[low & 0xff] ^
      t6[(low >>> 8) & 0xff] ^
      t5[(low >>> 16) & 0xff] ^
      t4[low >>> 24] ^
      t3[bytes[at + 4]] ^
      t2[bytes[at + 5]] ^
      t1[bytes[at + 6]] ^
      t0[bytes[at + 7]];
  }
  for (; at < bytes.length; at++) value = t0[(value ^ bytes[at]) & 0xff] ^ (value >>> 8);
  return ~value >>> 0;
};
