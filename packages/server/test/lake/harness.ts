/** A lake over a log in memory, with streams that events can be put into. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { crc32c, EventBlockBuilder, InternedString, recordFlag } from "@headrace/engine";
import type { MemoryLog } from "@headrace/testkit";
import type { Lake, LakeStream } from "../../src/lake/index.ts";
import { openLake } from "../../src/lake/open.ts";
import type { LakeOptions } from "../../src/lake/options.ts";
import { serveLog } from "../../src/log/index.ts";

export interface TestEvent {
  device?: string;
  topic?: string;
  client?: string;
  payload: unknown;
  arrivalMs?: number;
  repeated?: boolean;
}

const encoder = new TextEncoder();
export const hourStartMs = Date.UTC(2026, 0, 2, 10);

/** Puts events into one block of a channel; objects become JSON, bytes stay as they are. */
export const putEvents = async (
  log: MemoryLog,
  name: string,
  events: readonly TestEvent[],
  writer = 1,
): Promise<void> => {
  const { id: logId } = await log.open(name, "stream");
  const state = log.channels(logId).find((channel) => channel.writer === writer);
  let sequence = state?.endSequence ?? 0;
  const builder = new EventBlockBuilder();
  const group: Uint8Array[] = [];
  const seal = (): void => {
    group.push(builder.seal({ logId, writer, epoch: 1, sequence }, crc32c).slice());
    sequence += builder.recordCount;
    builder.reset();
  };
  for (const event of events) {
    const {
      device = "d1",
      topic = `plants/${device}`,
      client = `client-${device}`,
      payload,
      arrivalMs = hourStartMs,
      repeated = false,
    } = event;
    const bytes =
      payload instanceof Uint8Array
        ? payload
        : encoder.encode(typeof payload === "string" ? payload : JSON.stringify(payload));
    const append = (): boolean =>
      builder.append(
        new InternedString(topic),
        new InternedString(device),
        new InternedString(client),
        1 | (repeated ? recordFlag.repeated : 0),
        arrivalMs,
        bytes,
        0,
        bytes.byteLength,
      );
    if (!append()) {
      seal();
      append();
    }
  }
  seal();
  await log.append(group);
};

export const stream = (name: string, rest: Partial<LakeStream> = {}): LakeStream => ({
  name,
  partitions: 1,
  columns: [],
  table: false,
  ...rest,
});

export const openLakeOn = (log: MemoryLog, options: Omit<LakeOptions, "logPort">): Promise<Lake> => {
  const { port1, port2 } = new MessageChannel();
  serveLog(log, port1);
  port1.unref();
  return openLake({ ...options, logPort: port2 });
};

export const temporaryFolder = (): Disposable & { path: string } => {
  const path = mkdtempSync(join(tmpdir(), "headrace-lake-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
};
