/**
 * Goal (P6): damage to any file of the log is noticed and named: nothing is skipped, renumbered or made up, and nothing more is destroyed by starting.
 * Method: a log of three segments and one with history files are copied; bytes are flipped, pages zeroed, files cut, removed, swapped; what the log
 * then says is an error that names the place, or everything that was there, or (at the very end only) everything but the last group.
 */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { EventBlockBuilder, EventBlockReader, InternedString } from "@headrace/engine";
import { checksum, EmbeddedLog, type LogSystem, nodeLogSystem } from "@headrace/server/log";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../node-process.ts";
import { randomOf, replay, sampleOf, scope } from "./scope.ts";

const segmentBytes = 4096;
const longer = { timeout: scope === "ci" ? 180_000 : 3_600_000 };
const disk = temporaryFolder();
afterAll(() => disk[Symbol.dispose]());
const encoder = new TextEncoder();
const decoder = new TextDecoder();
let copies = 0;

/** Segments stay what they are: without a thread for its maintenance a log opens ten times as fast. */
const withoutRewriting: LogSystem = {
  ...nodeLogSystem,
  startMaintenance: () => ({
    prepare: () => Promise.reject(new Error("nothing is prepared")),
    rewrite: () => new Promise(() => undefined),
    removeSegment: () => Promise.resolve(),
    dropHistory: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }),
};

const openIn = (folder: string, system: LogSystem = withoutRewriting): Promise<EmbeddedLog> =>
  EmbeddedLog.open({
    folder,
    system,
    segmentBytes,
    onFatal: (error) => {
      throw error;
    },
  });

async function appendTo(log: EmbeddedLog, count: number): Promise<void> {
  const { id: logId } = await log.open("stream/load/0", "stream");
  const channel = { logId, writer: 0 };
  const epoch = await log.fence(channel);
  const name = new InternedString("load");
  for (let at = 0; at < count; at++) {
    const sequence = log.endSequence(channel);
    const payload = encoder.encode(`${sequence} `.padEnd(400, "x"));
    const builder = new EventBlockBuilder(64 * 1024);
    builder.append(name, name, name, 1, 1000, payload, 0, payload.byteLength, undefined, -1, -1);
    await log.append([builder.seal({ ...channel, epoch, sequence }, checksum).slice()]);
  }
}

async function textsIn(log: EmbeddedLog): Promise<number[]> {
  const [info] = log.list("stream/");
  if (!info) return [];
  const channel = { logId: info.id, writer: 0 };
  const texts: number[] = [];
  const end = log.endSequence(channel);
  for (let at = log.channels(info.id)[0]?.startSequence ?? 0; at < end; ) {
    const blocks = await log.read(channel, at, 1 << 20);
    if (blocks.length === 0) throw new Error(`the log ends at ${at} and says ${end}`);
    for (const block of blocks) {
      const reader = new EventBlockReader(block);
      while (reader.next()) {
        texts.push(Number(decoder.decode(reader.payload).split(" ")[0]));
        at = reader.sequence + 1;
      }
    }
  }
  return texts;
}

interface Outcome {
  readonly texts?: number[];
  readonly cut?: boolean;
  readonly code?: string;
  readonly message?: string;
  /** It did not open at all. */
  readonly refused?: boolean;
}

/** What a start on this folder comes to: what can be read, or the error. */
async function outcomeOf(folder: string): Promise<Outcome> {
  let log: EmbeddedLog | undefined;
  try {
    log = await openIn(folder);
    return { texts: await textsIn(log), cut: log.recoveredCut !== undefined };
  } catch (error) {
    const { code = "none", message } = error as Error & { code?: string };
    return { code, message, refused: log === undefined };
  } finally {
    await log?.close();
  }
}

const copyOf = (folder: string): string => {
  const copy = join(disk.path, `copy-${++copies}`);
  cpSync(folder, copy, { recursive: true });
  return copy;
};
const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();

/** Three full segments and an open one, none of them rewritten. */
let plain: string;
/** Segments that have become history files, and some that have not. */
let rewritten: string;
const stored = new Map<string, number>();

beforeAll(async () => {
  plain = join(disk.path, "plain");
  const running = join(disk.path, "running");
  mkdirSync(join(plain, "wal"), { recursive: true });
  const log = await openIn(running);
  let count = 0;
  const usedSegments = (): number =>
    readdirSync(join(plain, "wal")).filter((name) => readFileSync(join(plain, "wal", name)).some((byte) => byte !== 0))
      .length;
  // A few groups more, so that the open segment has a middle as well.
  for (let inLast = 0; inLast < 5; inLast += usedSegments() === 4 ? 1 : 0) {
    await appendTo(log, 1);
    for (const name of readdirSync(join(running, "wal")))
      if (name.endsWith(".wal")) copyFileSync(join(running, "wal", name), join(plain, "wal", name));
    count += 1;
  }
  await log.close();
  // What is prepared and empty is of no interest.
  for (const name of readdirSync(join(plain, "wal"))) {
    const path = join(plain, "wal", name);
    if (readFileSync(path).every((byte) => byte === 0)) rmSync(path);
  }
  stored.set(plain, count);

  rewritten = join(disk.path, "rewritten");
  const second = await openIn(rewritten, nodeLogSystem);
  await appendTo(second, 30);
  const patience = performance.now() + 20_000;
  const listed = (): number => {
    const path = join(rewritten, "history/manifest");
    return existsSync(path) ? readFileSync(path, "utf8").split("\n").length - 1 : 0;
  };
  while (listed() < 3) {
    if (performance.now() > patience) throw new Error("no segment was rewritten");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await second.close();
  // What the closing interrupted is not listed, and of no interest either.
  const list = readFileSync(join(rewritten, "history/manifest"), "utf8");
  for (const name of filesIn(join(rewritten, "history")))
    if (name !== "manifest" && !list.includes(`"${name}"`)) rmSync(join(rewritten, "history", name));
  stored.set(rewritten, 30);
});

const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

/** What is wrong with an outcome; undefined when it is right. */
function wrongWith({ texts, cut, code, message }: Outcome, count: number, mayLoseLast: boolean): string | undefined {
  if (code !== undefined) {
    if (code !== "HR_BLOCK_CORRUPT") return `${code}: ${message}`;
    return /segment \d+|history\/\S+/.test(message ?? "") ? undefined : `it names no place: ${message}`;
  }
  const got = JSON.stringify(texts);
  if (got === JSON.stringify(upTo(count))) return undefined;
  if (mayLoseLast && cut && got === JSON.stringify(upTo(count - 1))) return undefined;
  return `it reads ${texts?.length} of ${count} records without a word`;
}

/** Changes each place of a file of a copy, one after another. */
async function sweep(
  id: string,
  base: string,
  name: string,
  places: readonly number[],
  change: (bytes: Buffer, at: number) => void,
  mayLoseLast = false,
): Promise<string[]> {
  const whole = readFileSync(join(base, name));
  const found: string[] = [];
  for (const at of places) {
    const folder = copyOf(base);
    const bytes = Buffer.from(whole);
    change(bytes, at);
    writeFileSync(join(folder, name), bytes);
    const before = filesIn(folder).length;
    const outcome = await outcomeOf(folder);
    const wrong = wrongWith(outcome, stored.get(base)!, mayLoseLast);
    if (wrong !== undefined) found.push(`${id} ${name} byte ${at}: ${wrong} (${replay(id)})`);
    if (outcome.refused && filesIn(folder).length < before)
      found.push(`${id} ${name} byte ${at}: a start that was refused removed files (${replay(id)})`);
    rmSync(folder, { recursive: true });
  }
  return found;
}

const flip = (bytes: Buffer, at: number): void => {
  bytes[at]! ^= 1 << (at % 8);
};
const sizeOf = (base: string, name: string): number => readFileSync(join(base, name)).byteLength;

describe("S9: a flipped bit", () => {
  test("S9: in a write-ahead log of three segments", longer, async () => {
    const names = filesIn(plain);
    expect(names.length).toBeGreaterThanOrEqual(3);
    const found: string[] = [];
    for (const name of names) {
      const isLast = name === names.at(-1);
      const places = sampleOf(`S9/${name}`, upTo(sizeOf(plain, name)), { ci: 60, full: 300, soak: 1e9 });
      // The last frame is the one that a torn write and damage look alike in; everything before it is not.
      found.push(...(await sweep("S9", plain, name, places, flip, isLast)));
    }
    expect(found.slice(0, 10)).toEqual([]);
  });

  test("S9: in history files and their list", longer, async () => {
    const names = filesIn(rewritten).filter((name) => name.startsWith("history/"));
    expect(names).toContain("history/manifest");
    const found: string[] = [];
    for (const name of names) {
      const places = sampleOf(`S9/${name}`, upTo(sizeOf(rewritten, name)), { ci: 25, full: 120, soak: 1e9 });
      found.push(...(await sweep("S9", rewritten, name, places, flip)));
    }
    expect(found.slice(0, 10)).toEqual([]);
  });
});

test("S10: zeroed bytes in the middle of a segment", longer, async () => {
  const names = filesIn(plain).slice(0, -1);
  const found: string[] = [];
  for (const name of names) {
    const places = sampleOf(
      `S10/${name}`,
      upTo(sizeOf(plain, name) >> 3).map((at) => at * 8),
      { ci: 20, full: 80, soak: 1e9 },
    );
    const zero = (bytes: Buffer, at: number): void => {
      bytes.fill(0, at, Math.min(bytes.byteLength, at + 512));
    };
    found.push(...(await sweep("S10", plain, name, places, zero)));
  }
  expect(found.slice(0, 10)).toEqual([]);
});

test(
  "S8: the newest segment cut off anywhere behind its last marker loses groups from its end only",
  longer,
  async () => {
    const name = filesIn(plain).at(-1)!;
    const size = sizeOf(plain, name);
    const found: string[] = [];
    let before = Number.POSITIVE_INFINITY;
    for (const at of sampleOf("S8", upTo(size), { ci: 80, full: 400, soak: 1e9 }).reverse()) {
      const folder = copyOf(plain);
      truncateSync(join(folder, name), at);
      const { texts, code, message } = await outcomeOf(folder);
      if (texts === undefined) found.push(`S8 at ${at}: ${code} ${message} (${replay("S8")})`);
      else if (JSON.stringify(texts) !== JSON.stringify(upTo(texts.length)) || texts.length > before)
        found.push(`S8 at ${at}: ${JSON.stringify(texts)} (${replay("S8")})`);
      before = Math.min(before, texts?.length ?? before);
      rmSync(folder, { recursive: true });
    }
    expect(found.slice(0, 10)).toEqual([]);
  },
);

describe("S11: a missing file", () => {
  test("S11: any segment but the newest", longer, async () => {
    for (const name of filesIn(plain).slice(0, -1)) {
      const folder = copyOf(plain);
      rmSync(join(folder, name));
      expect(await outcomeOf(folder), name).toMatchObject({ code: "HR_BLOCK_CORRUPT" });
    }
  });

  test("S11: any history file, or their list", longer, async () => {
    for (const name of filesIn(rewritten).filter((one) => one.startsWith("history/"))) {
      const folder = copyOf(rewritten);
      rmSync(join(folder, name));
      expect(await outcomeOf(folder), name).toMatchObject({ code: "HR_BLOCK_CORRUPT" });
    }
  });
});

test("S12: two files that have changed places", longer, async () => {
  const swapped = async (base: string, [one, other]: readonly [string, string]): Promise<unknown> => {
    const folder = copyOf(base);
    renameSync(join(folder, one), join(folder, "aside"));
    renameSync(join(folder, other), join(folder, one));
    renameSync(join(folder, "aside"), join(folder, other));
    return outcomeOf(folder);
  };
  const segments = filesIn(plain);
  expect(await swapped(plain, [segments[0]!, segments[1]!])).toMatchObject({ code: "HR_BLOCK_CORRUPT" });
  const history = filesIn(rewritten).filter((name) => name.endsWith(".hist") && name.startsWith("history/1/"));
  expect(history.length).toBeGreaterThanOrEqual(2);
  expect(await swapped(rewritten, [history[0]!, history[1]!])).toMatchObject({ code: "HR_BLOCK_CORRUPT" });
});

test("S12: a block that was written over another block of the same file", longer, async () => {
  const [first] = filesIn(plain);
  const found: string[] = [];
  const random = randomOf("S12");
  const places = upTo({ ci: 20, full: 100, soak: 1000 }[scope]).map(() => 64 + 8 * Math.floor(random() * 300));
  const misdirect = (bytes: Buffer, at: number): void => {
    bytes.copy(bytes, at, at + 512, at + 1024);
  };
  found.push(...(await sweep("S12", plain, first!, places, misdirect)));
  expect(found).toEqual([]);
});
