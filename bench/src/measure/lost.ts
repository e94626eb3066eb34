/**
 * Which acknowledged messages are gone, and which are there twice: the ids themselves are read back from the stream
 * after kill -9 and a restart. No counter of the server decides anything.
 */
import { BenchError } from "../errors.ts";
import type { AcknowledgedIds } from "../generator/messages.ts";
import { firstId } from "../generator/packets.ts";
import type { Headrace } from "../servers/headrace.ts";

export interface Survival {
  readonly acknowledged: number;
  readonly lost: number;
  /** Ids that were read more than once. */
  readonly doubled: number;
  /** Ids that were read. */
  readonly found: number;
}

/** When nothing has come for so long the stream is at its end. */
const silenceMs = 8_000;
const lineFeed = 10;
const quote = 34;
const colon = 58;
const letterC = 99;
const letterN = 110;
const zero = 48;

/** Ids of every connection, one bit each, growing as they come. */
class SeenIds {
  readonly #bits: Uint8Array[] = [];
  found = 0;
  doubled = 0;

  add(connection: number, number: number): void {
    let bits = this.#bits[connection] ?? new Uint8Array(1024);
    if (number >> 3 >= bits.length) {
      const grown = new Uint8Array(Math.max(bits.length * 2, (number >> 3) + 1));
      grown.set(bits);
      bits = grown;
    }
    this.#bits[connection] = bits;
    const bit = 1 << (number & 7);
    if ((bits[number >> 3]! & bit) !== 0) {
      this.doubled += 1;
      return;
    }
    bits[number >> 3]! |= bit;
    this.found += 1;
  }

  has(connection: number, number: number): boolean {
    const byte = this.#bits[connection]?.[number >> 3];
    return byte !== undefined && (byte & (1 << (number & 7))) !== 0;
  }
}

/** Finds `"c":…` and `"n":…` in the lines of server-sent events without making text of them. */
class IdScanner {
  readonly #seen: SeenIds;
  #carried = Buffer.alloc(0);

  constructor(seen: SeenIds) {
    this.#seen = seen;
  }

  feed(chunk: Uint8Array): void {
    const last = chunk.lastIndexOf(lineFeed);
    if (last < 0) {
      this.#carried = Buffer.concat([this.#carried, chunk]);
      return;
    }
    const whole = chunk.subarray(0, last + 1);
    this.#lines(this.#carried.length === 0 ? whole : Buffer.concat([this.#carried, whole]));
    this.#carried = Buffer.from(chunk.subarray(last + 1));
  }

  #lines(bytes: Uint8Array): void {
    let connection = -1;
    let id = -1;
    for (let at = 0; at < bytes.length; at += 1) {
      const byte = bytes[at]!;
      if (byte === lineFeed) {
        if (connection >= 0 && id >= firstId) this.#seen.add(connection, id - firstId);
        connection = -1;
        id = -1;
      } else if (byte === quote && bytes[at + 2] === quote && bytes[at + 3] === colon) {
        const name = bytes[at + 1]!;
        if (name !== letterC && name !== letterN) continue;
        let value = 0;
        for (at += 4; bytes[at]! >= zero && bytes[at]! <= zero + 9; at += 1) value = value * 10 + bytes[at]! - zero;
        if (name === letterC) connection = value;
        else id = value;
        at -= 1;
      }
    }
  }
}

/** Reads the whole stream of a restarted node and compares it with what was acknowledged before the kill. */
export async function survival(
  node: Headrace,
  stream: string,
  acknowledged: readonly AcknowledgedIds[],
): Promise<Survival> {
  const seen = new SeenIds();
  const { streams } = await node.status();
  // Tells only where to stop reading.
  const limit = streams.find(({ name }) => name === stream)?.stored ?? 0;
  if (limit > 0) {
    const silence = new AbortController();
    const response = await node.get(`/v1/tail/${stream}?from=start&limit=${limit}`, silence.signal);
    if (response.body === null) throw new BenchError(`the tail of ${stream} has no body`);
    const scanner = new IdScanner(seen);
    let timer = setTimeout(() => silence.abort(), silenceMs);
    try {
      for await (const chunk of response.body) {
        clearTimeout(timer);
        scanner.feed(chunk);
        timer = setTimeout(() => silence.abort(), silenceMs);
      }
    } catch (error) {
      if (!silence.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
  }
  let count = 0;
  let lost = 0;
  acknowledged.forEach(({ before, others }, connection) => {
    count += before + others.length;
    for (let number = 0; number < before; number += 1) if (!seen.has(connection, number)) lost += 1;
    for (const number of others) if (!seen.has(connection, number)) lost += 1;
  });
  return { acknowledged: count, lost, doubled: seen.doubled, found: seen.found };
}
