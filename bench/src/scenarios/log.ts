/** How fast the embedded log stores and gives back, through its own API: no gateway, no network, every group durable. */
import { EventBlockBuilder, EventBlockReader, InternedString } from "@headrace/engine";
import { checksum, EmbeddedLog } from "@headrace/server/log";
import { median, round } from "../measure/statistics.ts";
import type { Context, Report } from "./scenario.ts";

const secondsDefault = 10;
const recordBytes = 120;
const blockBytes = 64 * 1024;
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

export async function log(context: Context): Promise<Report> {
  const seconds = context.seconds ?? secondsDefault;
  const appended: number[] = [];
  const read: number[] = [];
  const failures: string[] = [];
  let syncMsP50 = 0;
  for (let number = 1; number <= context.rounds; number += 1) {
    await using folder = context.folder();
    const embedded = await openLog(folder.path);
    const { id } = await embedded.open("stream/bench/0", "stream");
    let startMs = performance.now();
    const endMs = startMs + seconds * 1000;
    const records = await fill(embedded, id, () => performance.now() >= endMs || context.signal.aborted);
    appended.push(records / ((performance.now() - startMs) / 1000));
    syncMsP50 = embedded.metrics().syncMsP50;
    startMs = performance.now();
    const found = await readBack(embedded, id);
    read.push(found / ((performance.now() - startMs) / 1000));
    await embedded.close();
    if (found !== records) failures.push(`round ${number}: ${records} records appended, ${found} read`);
    context.say(`round ${number}: ${round(appended.at(-1)!)} records/s appended, ${round(read.at(-1)!)} read back`);
    context.signal.throwIfAborted();
  }
  const appendRate = round(median(appended));
  const readRate = round(median(read));
  return {
    result: { scenario: "log", rounds: context.rounds, seconds, appendRate, readRate, syncMsP50: round(syncMsP50, 3) },
    table: [
      ["", "records/s"],
      ["appended, every group durable", String(appendRate)],
      ["read back", String(readRate)],
    ],
    notes: [
      `${recordBytes}-byte records in blocks of ${blockBytes / 1024} KiB, checksums on; sync p50 ${round(syncMsP50, 3)} ms`,
    ],
    failures,
  };
}
