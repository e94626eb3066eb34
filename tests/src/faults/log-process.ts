/**
 * A process that does nothing but append to an embedded log, for faults that need a process to kill: it says what it recovered, what it sends and
 * what is durable, one line each, and every record says by its text which one it is.
 *
 *   node log-process.ts '{"folder": …, "groups": 20}'
 *
 * Lines: `recovered <JSON list of texts>`, `cut <segment> <offset>`, `sent <text>`, `acked <text>`, `refused <code>`, `fatal <code> <message>`, `done`.
 * Exit status: 0 after `done`, 70 after `fatal` while it runs, 71 when the log does not open.
 */
import { spawn } from "node:child_process";
import { openSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { EventBlockBuilder, EventBlockReader, InternedString } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { checksum, EmbeddedLog, lockFolder } from "@headrace/server/log";

export interface LogLoad {
  readonly folder: string;
  /** Names this run in its records. */
  readonly run: number;
  /** Default 0: only recovers. */
  readonly groups?: number;
  /** Default 8 KiB. */
  readonly segmentBytes?: number;
  /** Of each record; default 1,000. */
  readonly payloadBytes?: number;
  /** After which groups are waited for the idle marker; default none. */
  readonly pauseEvery?: number;
  /** Tries a refused append again after this pause, for ever; default: ends with it. */
  readonly retryMs?: number;
  /** Trims what is older than this many records, so that retention and rewriting have work; default: keeps all. */
  readonly keep?: number;
  /**
   * From the twentieth group on: `taken` takes all file descriptors that are left before each group; `none` lowers the limit for a while, so that
   * even what the log has in reserve cannot be used.
   */
  readonly descriptors?: "taken" | "none";
}

const scarceFrom = 20;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const say = (line: string): void => {
  writeSync(1, `${line}\n`);
};
const codeOf = (error: unknown): string =>
  error instanceof HeadraceError ? `${error.code} ${error.message}` : String(error);

const load = JSON.parse(process.argv[2]!) as LogLoad;
const {
  folder,
  run,
  groups = 0,
  segmentBytes = 8192,
  payloadBytes = 1000,
  pauseEvery = 0,
  retryMs,
  keep,
  descriptors,
} = load;

const hasDescriptor = (): boolean => {
  try {
    openSync("/dev/null", "r");
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EMFILE") throw error;
    return false;
  }
};

async function makeDescriptorsScarce(group: number): Promise<void> {
  if (descriptors === "none" && group === scarceFrom) {
    const limit = `prlimit --pid ${process.pid} --nofile`;
    spawn("sh", ["-c", `${limit}=3: && sleep 1 && ${limit}=200:`], { stdio: "ignore" });
    while (hasDescriptor()) await sleep(5);
  }
  if (descriptors === "taken") while (hasDescriptor());
}

/** Every record of the channel from `from` on. */
async function* textsOf(log: EmbeddedLog, logId: number, from: number): AsyncGenerator<string> {
  const end = log.endSequence({ logId, writer: 0 });
  for (let at = from; at < end; ) {
    const blocks = await log.read({ logId, writer: 0 }, at, 1 << 20);
    if (blocks.length === 0) throw new Error(`the log ends at ${at} and says ${end}`);
    for (const block of blocks) {
      const reader = new EventBlockReader(block);
      while (reader.next()) {
        if (reader.sequence < at) continue;
        if (reader.sequence !== at) throw new Error(`sequence ${reader.sequence} stands where ${at} is expected`);
        at += 1;
        yield decoder.decode(reader.payload).split(" ")[0]!;
      }
    }
  }
}

async function main(): Promise<void> {
  let log: EmbeddedLog;
  let logId: number;
  let lock: Disposable;
  try {
    lock = lockFolder(folder);
    log = await EmbeddedLog.open({
      folder,
      segmentBytes,
      onFatal: (error) => {
        say(`fatal ${codeOf(error)}`);
        process.exit(70);
      },
    });
    ({ id: logId } = await log.open("stream/load/0", "stream"));
    if (log.recoveredCut) say(`cut ${log.recoveredCut.segment} ${log.recoveredCut.offset}`);
    const [{ startSequence } = { startSequence: 0 }] = log.channels(logId);
    const texts: string[] = [];
    for await (const text of textsOf(log, logId, startSequence)) texts.push(text);
    say(`recovered ${JSON.stringify(texts)}`);
  } catch (error) {
    say(`fatal ${codeOf(error)}`);
    process.exit(71);
  }
  const rewritten = async (): Promise<void> => {
    const patienceMs = performance.now() + 5000;
    while (log.metrics().walBytes > 2 * segmentBytes && performance.now() < patienceMs) await sleep(5);
  };
  const channel = { logId, writer: 0 };
  const epoch = await log.fence(channel);
  const name = new InternedString("load");
  for (let group = 1; group <= groups; group++) {
    const text = `${run}.${group}`;
    // Its thread has to be there, and its code.
    if (descriptors && group === scarceFrom) await rewritten();
    if (group >= scarceFrom) await makeDescriptorsScarce(group);
    const payload = encoder.encode(text.padEnd(payloadBytes, " "));
    for (;;) {
      const builder = new EventBlockBuilder(64 * 1024);
      builder.append(name, name, name, 1, Date.now(), payload, 0, payload.byteLength, undefined, -1, -1);
      const sequence = log.endSequence(channel);
      say(`sent ${text}`);
      try {
        await log.append([builder.seal({ ...channel, epoch, sequence }, checksum).slice()]);
        say(`acked ${text}`);
        break;
      } catch (error) {
        say(`refused ${codeOf(error)}`);
        if (retryMs === undefined) break;
        await sleep(retryMs);
      }
    }
    if (keep !== undefined) log.trim(channel, log.endSequence(channel) - keep);
    if (pauseEvery > 0 && group % pauseEvery === 0) await sleep(250);
  }
  // Sealed segments are rewritten into history by a thread of their own: its steps are part of the cycle.
  if (groups > 0 && !descriptors) await rewritten();
  await log.close();
  lock[Symbol.dispose]();
  say("done");
}

await main();
