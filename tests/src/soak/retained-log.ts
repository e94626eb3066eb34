/** A log under load at many times its retention: what it takes on disk and in memory must stop growing. */
import { randomBytes } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { EventBlockBuilder, InternedString, readBlockHeader } from "@headrace/engine";
import { checksum, EmbeddedLog } from "@headrace/server/log";

export interface RetainedLoad {
  readonly folder: string;
  readonly segmentBytes: number;
  /** What is kept of the log. */
  readonly retainBytes: number;
  /** Called before each block: whether it is enough. */
  readonly isEnough: (writtenBytes: number) => boolean;
  /** Called about four times a second. */
  readonly onSample?: (sample: Sample) => void;
}

export interface Sample {
  readonly writtenBytes: number;
  readonly diskBytes: number;
  readonly memoryBytes: number;
}

export interface RetainedResult {
  readonly samples: readonly Sample[];
  /** Oldest record that is left, and the number of the next. */
  readonly startSequence: number;
  readonly endSequence: number;
  /** Records that could be read back in the end, from the oldest on. */
  readonly readRecords: number;
}

const payloadBytes = 32 * 1024;
const sampleMs = 250;

/** Bytes of all files below a folder; one that goes meanwhile takes none. */
const bytesIn = (folder: string): number =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).reduce((sum, name) => {
    const state = statSync(join(folder, name), { throwIfNoEntry: false });
    return sum + (state?.isFile() ? state.size : 0);
  }, 0);

/** What may be on disk: what is kept, a file more, and segments that are open, prepared, or being rewritten, beside their files. */
export const diskBytesMax = ({ retainBytes, segmentBytes }: RetainedLoad): number => retainBytes + 10 * segmentBytes;

export async function loadRetained(load: RetainedLoad): Promise<RetainedResult> {
  const { folder, segmentBytes, retainBytes, isEnough, onSample } = load;
  const log = await EmbeddedLog.open({
    folder,
    segmentBytes,
    onFatal: (error) => {
      throw error;
    },
  });
  const { id: logId } = await log.open("stream/soak/0", "stream");
  const channel = { logId, writer: 0 };
  log.setRetention(logId, { bytes: retainBytes });
  // Does not compress: what is written is what is kept.
  const noise = randomBytes(4 * payloadBytes);
  const key = new InternedString("soak");
  const samples: Sample[] = [];
  let writtenBytes = 0;
  let sampledMs = Number.NEGATIVE_INFINITY;
  while (!isEnough(writtenBytes)) {
    const builder = new EventBlockBuilder(2 * payloadBytes);
    const start = (writtenBytes * 7) % (3 * payloadBytes);
    builder.append(key, key, key, 1, Date.now(), noise, start, start + payloadBytes, undefined, -1, -1);
    const block = builder.seal({ ...channel, epoch: 0, sequence: log.endSequence(channel) }, checksum).slice();
    await log.append([block]);
    writtenBytes += block.byteLength;
    // As fast as segments are rewritten, and no faster.
    while (log.metrics().walBytes > 5 * segmentBytes) await sleep(1);
    if (performance.now() - sampledMs < sampleMs) continue;
    sampledMs = performance.now();
    const sample = { writtenBytes, diskBytes: bytesIn(folder), memoryBytes: process.memoryUsage.rss() };
    samples.push(sample);
    onSample?.(sample);
  }
  const [{ startSequence, endSequence } = { startSequence: 0, endSequence: 0 }] = log.channels(logId);
  let readRecords = 0;
  for (let at = startSequence; at < endSequence; ) {
    const blocks = await log.read(channel, at, 1 << 20);
    for (const block of blocks) {
      const { sequence, recordCount } = readBlockHeader(block);
      readRecords += recordCount;
      at = sequence + recordCount;
    }
  }
  await log.close();
  return { samples, startSequence, endSequence, readRecords };
}
