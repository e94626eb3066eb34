/**
 * The embedded log: the conformance suite of the port, and what damage and foreign hands do to its files. Each fault carries the id that the
 * promises name: S8 torn tail, S9 bit flip in the middle, S11 missing segment, S19 second process, S20 read-only folder.
 */
import { execFile } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { readBlockHeader } from "@headrace/engine";
import { logConformance, testBlock } from "@headrace/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { EmbeddedLog } from "./embedded.ts";
import { lockFolder } from "./folder-lock.ts";
import { decodeFrameHeader } from "./frame.ts";
import { nodeLogSystem, syncingLogSystem } from "./log-system.ts";
import { segmentHeaderBytes } from "./segment.ts";
import { SyncThread } from "./sync-thread.ts";

const folders: string[] = [];
const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-log-"));
  folders.push(folder);
  return folder;
};
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const openIn = (folder: string, segmentBytes = 8192, system = nodeLogSystem): Promise<EmbeddedLog> =>
  EmbeddedLog.open({
    folder,
    segmentBytes,
    system,
    nowMs: () => 1000,
    onFatal: (error) => {
      throw error;
    },
  });

describe.each([
  ["by the thread that writes", nodeLogSystem],
  ["by a thread of its own", syncingLogSystem],
])("the embedded log, synced %s, is a Log", (_name, system) => {
  logConformance(
    async () => {
      const folder = newFolder();
      let log = await openIn(folder, 8192, system);
      return {
        log,
        reopen: async () => {
          await log.close();
          log = await openIn(folder, 8192, system);
          return log;
        },
        close: () => log.close(),
      };
    },
    { test, equal: (actual, expected) => expect(actual).toEqual(expected) },
  );
});

describe("with a thread that syncs", () => {
  /** A sync thread whose answers come when the test says so. */
  class HeldSync extends SyncThread {
    readonly held: (() => void)[] = [];
    failure: string | undefined;
    override sync(descriptor: number, done: (failure: string | undefined) => void): void {
      super.sync(descriptor, (failure) => this.held.push(() => done(this.failure ?? failure)));
    }
    /** Waits for the next answer and lets it through. */
    async release(): Promise<void> {
      while (this.held.length === 0) await new Promise((resolve) => setImmediate(resolve));
      this.held.shift()?.();
    }
  }
  const openHeld = async () => {
    const sync = new HeldSync();
    const failures: unknown[] = [];
    const opening = EmbeddedLog.open({
      folder: newFolder(),
      system: { ...nodeLogSystem, startSync: () => sync },
      onFatal: (error) => failures.push(error),
    });
    const log = await opening;
    const named = log.open("stream/a/0", "stream");
    await sync.release();
    return { log, sync, failures, logId: (await named).id };
  };

  test("nothing is told, read or written while a group is being synced; what came meanwhile is the next group", async () => {
    const { log, sync, logId } = await openHeld();
    const told: string[] = [];
    log.watch(logId, () => told.push("watcher"));
    const syncs = log.metrics().syncs;
    const appended = [0, 1, 2].map(async (sequence) => {
      if (sequence > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      await log.append([testBlock({ logId, sequence })]);
      told.push(`append ${sequence}`);
    });
    while (sync.held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect([told, log.endSequence({ logId, writer: 0 })]).toEqual([[], 0]);
    await sync.release();
    await appended[0];
    expect([told, log.endSequence({ logId, writer: 0 })]).toEqual([["watcher", "append 0"], 1]);
    await sync.release();
    await Promise.all(appended);
    expect(told.slice(2)).toEqual(["watcher", "append 1", "append 2"]);
    expect(log.metrics().syncs - syncs).toBe(2);
    await log.close();
  });

  test("S4: a failed sync is told to nobody but the node, which ends; nothing is tried again", async () => {
    const { log, sync, failures, logId } = await openHeld();
    let settled = false;
    void log.append([testBlock({ logId, sequence: 0 })]).finally(() => {
      settled = true;
    });
    sync.failure = "EIO: i/o error, fdatasync";
    await sync.release();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(failures).toMatchObject([{ code: "HR_LOG_FAILED", message: expect.stringContaining("EIO") }]);
    expect([settled, sync.held.length]).toEqual([false, 0]);
    await expect(log.append([testBlock({ logId, sequence: 1 })])).rejects.toMatchObject({ code: "HR_UNAVAILABLE" });
  });

  test("closing waits for the sync that is under way and stores what came meanwhile", async () => {
    const { log, sync, logId } = await openHeld();
    const first = log.append([testBlock({ logId, sequence: 0 })]);
    while (sync.held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const second = log.append([testBlock({ logId, sequence: 1 })]);
    const closed = log.close();
    await sync.release();
    await Promise.all([first, second, closed]);
  });
});

/** The write-ahead log of `count` durable groups as a crash leaves it: without the marker of a clean stop. */
async function crashed(count: number, segmentBytes?: number): Promise<{ folder: string; logId: number }> {
  const running = newFolder();
  const log = await openIn(running, segmentBytes);
  const { id } = await log.open("stream/a/0", "stream");
  for (let sequence = 0; sequence < count; sequence++) await log.append([testBlock({ logId: id, sequence })]);
  const folder = newFolder();
  cpSync(running, folder, { recursive: true });
  await log.close();
  return { folder, logId: id };
}

const segments = (folder: string): string[] =>
  readdirSync(join(folder, "wal"))
    .filter((name) => name.endsWith(".wal"))
    .sort()
    .map((name) => join(folder, "wal", name));

/** Offsets of the frames of a segment, and the end of the last one. */
const framesOf = (file: string): number[] => {
  const bytes = readFileSync(file);
  const offsets = [segmentHeaderBytes];
  for (;;) {
    const frame = decodeFrameHeader(bytes, offsets[offsets.length - 1]);
    if (!frame) return offsets;
    offsets.push(offsets[offsets.length - 1] + frame.byteLength);
  }
};

const storedIn = async (folder: string, logId: number): Promise<number[]> => {
  await using closing = new AsyncDisposableStack();
  const log = await openIn(folder);
  closing.defer(() => log.close());
  const blocks = await log.read({ logId, writer: 0 }, 0, 1e9);
  return blocks.map((block) => readBlockHeader(block).sequence);
};

describe("damage", () => {
  test("S8: a tail torn at any byte of the last frame loses that frame alone, and writing goes on", async () => {
    const { folder, logId } = await crashed(3);
    const [file] = segments(folder);
    const whole = readFileSync(file);
    const frames = framesOf(file);
    const [start, end] = frames.slice(-2);
    for (let cut = start; cut <= end; cut++) {
      const torn = Buffer.from(whole);
      torn.fill(0, cut, end);
      writeFileSync(file, torn);
      const log = await openIn(folder);
      // The zeros at the end of a frame are the same when they were never written.
      const isWhole = torn.equals(whole);
      const kept = isWhole ? [0, 1, 2] : [0, 1];
      const read = await log.read({ logId, writer: 0 }, 0, 1e9);
      expect([cut, read.map((block) => readBlockHeader(block).sequence)]).toEqual([cut, kept]);
      const isReported = log.recoveredCut !== undefined;
      expect([cut, isReported]).toEqual([cut, !isWhole && cut > start]);
      if (cut % 16 === 0) await log.append([testBlock({ logId, sequence: kept.length, fill: 0xee })]);
      await log.close();
      if (cut % 16 === 0) expect(await storedIn(folder, logId)).toEqual([...kept, kept.length]);
    }
  });

  test("S9: a bit flipped in a frame that others follow stops the start, and names segment and byte", async () => {
    const { folder, logId } = await crashed(4);
    const [file] = segments(folder);
    const whole = readFileSync(file);
    const frames = framesOf(file);
    for (let at = segmentHeaderBytes; at < frames[frames.length - 2]; at += 7) {
      const flipped = Buffer.from(whole);
      flipped[at] ^= 1 << (at % 8);
      writeFileSync(file, flipped);
      const frame = frames.findLast((start) => start <= at);
      await expect(openIn(folder), `byte ${at}`).rejects.toMatchObject({
        code: "HR_BLOCK_CORRUPT",
        data: { segment: 1, offset: frame },
      });
    }
    writeFileSync(file, whole);
    expect(await storedIn(folder, logId)).toEqual([0, 1, 2, 3]);
  });

  test("S9: the last frame before a marker is no torn tail", async () => {
    const folder = newFolder();
    const log = await openIn(folder);
    const { id } = await log.open("stream/a/0", "stream");
    await log.append([testBlock({ logId: id, sequence: 0 })]);
    await log.close();
    const [file] = segments(folder);
    const bytes = readFileSync(file);
    const frames = framesOf(file);
    bytes[frames[frames.length - 3] + 100] ^= 1;
    writeFileSync(file, bytes);
    await expect(openIn(folder)).rejects.toMatchObject({ code: "HR_BLOCK_CORRUPT" });
  });

  test("S11: a missing segment stops the start, and names it", async () => {
    // Three segments, none of them rewritten into history: their files are put together by hand.
    const running = newFolder();
    const log = await openIn(running, 1024);
    const { id } = await log.open("stream/a/0", "stream");
    const folder = newFolder();
    cpSync(running, folder, { recursive: true });
    for (let sequence = 0; segments(folder).length < 4; sequence++) {
      await log.append([testBlock({ logId: id, sequence, contentBytes: 200 })]);
      for (const file of segments(running)) copyFileSync(file, join(folder, "wal", file.slice(-16)));
    }
    await log.close();
    rmSync(join(folder, "history"), { recursive: true, force: true });
    const files = segments(folder);
    rmSync(files[1]);
    await expect(openIn(folder, 1024)).rejects.toMatchObject({ code: "HR_BLOCK_CORRUPT" });
    await expect(openIn(folder, 1024)).rejects.toThrow(/segment/);
  });
});

describe("the folder", () => {
  const run = promisify(execFile);
  const child = (folder: string): Promise<{ stdout: string }> => {
    const source = new URL("./folder-lock.ts", import.meta.url).href;
    const script = `import(${JSON.stringify(source)}).then(({ lockFolder }) => {
      try { lockFolder(${JSON.stringify(folder)}); console.log("taken"); } catch (error) { console.log(error.code, error.message); }
    });`;
    const flags = ["--conditions=headrace-source", "--disable-warning=ExperimentalWarning"];
    return run(process.execPath, [...flags, "--input-type=module", "-e", script]);
  };

  test("S19: a second process is refused, told whose it is, and let in afterwards", async () => {
    const folder = newFolder();
    const lock = lockFolder(folder);
    const { stdout } = await child(folder);
    expect(stdout).toContain("HR_DATA_FOLDER_LOCKED");
    expect(stdout).toContain(String(process.pid));
    lock[Symbol.dispose]();
    expect((await child(folder)).stdout).toContain("taken");
  });

  test("S19: the same process does not get it twice", () => {
    const folder = newFolder();
    const lock = lockFolder(folder);
    expect(() => lockFolder(folder)).toThrow(expect.objectContaining({ code: "HR_DATA_FOLDER_LOCKED" }));
    lock[Symbol.dispose]();
    lockFolder(folder)[Symbol.dispose]();
  });

  test("S20: what cannot be written, or is no folder, says so", () => {
    const folder = newFolder();
    const unusable = expect.objectContaining({ code: "HR_DATA_FOLDER_UNUSABLE" });
    writeFileSync(join(folder, "file"), "");
    expect(() => lockFolder(join(folder, "file"))).toThrow(unusable);
    expect(() => lockFolder(join(folder, "file", "below"))).toThrow(unusable);
    chmodSync(folder, 0o500);
    try {
      // Permissions do not bind the superuser: then the folder is usable, and that is right as well.
      if (process.getuid?.() === 0) lockFolder(folder)[Symbol.dispose]();
      else expect(() => lockFolder(folder)).toThrow(unusable);
    } finally {
      chmodSync(folder, 0o700);
    }
  });
});
