/** The embedded log without a node around it: filled, and read back whole. */
import { EventBlockBuilder, EventBlockReader, InternedString } from "@headrace/engine";
import { checksum, EmbeddedLog } from "@headrace/server/log";

export const recordBytes = 120;
export const blockBytes = 64 * 1024;
/** Appends that wait together, as blocks of several partitions would. */
const inFlight = 8;
const readBytes = 4 * 1024 * 1024;

export const openLog = (folder: string): Promise<EmbeddedLog> =>
  EmbeddedLog.open({
    folder,
    onFatal: (error) => {
      throw error;
    },
  });

/** Appends blocks of 120-byte records until `isEnough`; returns how many records are durable. */
export async function fill(
  log: EmbeddedLog,
  logId: number,
  isEnough: (records: number) => boolean,
  recordsPerBlock = Number.POSITIVE_INFINITY,
): Promise<number> {
  const channel = { logId, writer: 0 };
  const epoch = await log.fence(channel);
  const payload = new Uint8Array(recordBytes).fill(0x61);
  const name = new InternedString("bench/device-1");
  const builder = new EventBlockBuilder(blockBytes);
  let sequence = log.endSequence(channel);
  const first = sequence;
  while (!isEnough(sequence - first)) {
    const appends: Promise<void>[] = [];
    for (let at = 0; at < inFlight; at += 1) {
      builder.reset();
      const nowMs = Date.now();
      while (
        builder.recordCount < recordsPerBlock &&
        builder.append(name, name, name, 1, nowMs, payload, 0, recordBytes, undefined, -1, -1)
      );
      const block = builder.seal({ ...channel, epoch, sequence }, checksum).slice();
      sequence += builder.recordCount;
      appends.push(log.append([block]));
    }
    await Promise.all(appends);
  }
  return sequence - first;
}

/** Reads every record from the start, checking that none is missing; returns how many there are. */
export async function readBack(log: EmbeddedLog, logId: number): Promise<number> {
  const channel = { logId, writer: 0 };
  const end = log.endSequence(channel);
  let at = 0;
  while (at < end) {
    for (const block of await log.read(channel, at, readBytes)) {
      const reader = new EventBlockReader(block);
      while (reader.next()) {
        if (reader.sequence !== at) throw new Error(`sequence ${reader.sequence} stands where ${at} is expected`);
        at += 1;
      }
    }
  }
  return at;
}
