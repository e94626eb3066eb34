/**
 * Goal (P6): whatever happens to the bytes of a stored file, its decoder says so with a code, or reads exactly what was written.
 * Method: files of every format are changed at seeded places: bits flipped, pages zeroed, bytes cut off, cut out, put in and doubled. HEADRACE_SEED
 * repeats a run, FC_NUM_RUNS makes it longer.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { decodeCommit, decodeValue, EventBlockReader, readSections } from "@headrace/engine";
import { afterAll, describe, expect, test } from "vitest";
import { journalFile, listedFiles } from "../src/lake/manifest.ts";
import { readHistoryBlock, readHistoryIndex } from "../src/log/history-file.ts";
import { manifestFile, readManifest } from "../src/log/history-manifest.ts";
import { recoverWal } from "../src/log/recovery.ts";
import { readSnapshot } from "../src/runtime/snapshots/snapshot-file.ts";
import { stopped, walFiles } from "./stopped-log.ts";

const seed = Number(process.env.HEADRACE_SEED ?? 20_261_127);
const runs = Number(process.env.FC_NUM_RUNS ?? 150);
const goldenFolder = new URL("./golden/", import.meta.url);
const hexFile = (name: string): Buffer =>
  Buffer.from(readFileSync(new URL(`${name}.hex`, goldenFolder), "latin1").replace(/\s/g, ""), "hex");
const engineGolden = (name: string): Buffer => hexFile(`../../../engine/test/golden/${name}`);
const folder = mkdtempSync(join(tmpdir(), "headrace-mutations-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Numbers from 0 to `below`, exclusive. */
const randomOf = (start: number): ((below: number) => number) => {
  let state = start >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
};

/** One change, and whether it shortens the file from its end: then what is left may be what was written earlier. */
interface Mutation {
  readonly name: string;
  readonly bytes: Buffer;
  readonly cutsEnd: boolean;
}

const mutate = (sound: Buffer, random: (below: number) => number): Mutation => {
  const at = random(sound.byteLength);
  const length = 1 + random(Math.min(64, sound.byteLength - at));
  const bytes = Buffer.from(sound);
  const made = (name: string, changed: Buffer, cutsEnd = false): Mutation => ({
    name: `${name} at ${at}`,
    bytes: changed,
    cutsEnd,
  });
  switch (random(7)) {
    case 0:
      return made("cut off", bytes.subarray(0, at), true);
    case 1: {
      const middle = [bytes.subarray(0, at), bytes.subarray(at + length)];
      return made(`${length} bytes cut out`, Buffer.concat(middle), at + length === sound.byteLength);
    }
    case 2: {
      const noise = Buffer.from(Array.from({ length }, () => random(256)));
      return made(`${length} bytes put in`, Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)]));
    }
    case 3: {
      const twice = [bytes.subarray(0, at + length), bytes.subarray(at)];
      return made(`${length} bytes doubled`, Buffer.concat(twice));
    }
    case 4:
      return made(`${length} bytes zeroed`, bytes.fill(0, at, at + length));
    case 5:
      return made(`${length} bytes all ones`, bytes.fill(0xff, at, at + length));
    default:
      bytes[at] ^= 1 << random(8);
      return made("a flipped bit", bytes);
  }
};

interface Format {
  /** What the bytes hold, as a text to compare. */
  readonly read: (bytes: Buffer) => string;
  /** Whether a content that is not the written one is right nevertheless. */
  readonly mayBe?: (content: string, written: string, mutation: Mutation) => boolean;
}

const inFile = (name: string, bytes: Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

const historyFile = (bytes: Buffer): string => {
  const path = inFile("000000000001.hist", bytes);
  const entries = readHistoryIndex(path, 3);
  const file = openSync(path, "r");
  try {
    const blocks = entries.map((entry) => Buffer.from(readHistoryBlock(file, path, entry)).toString("hex"));
    return JSON.stringify([entries, blocks]);
  } finally {
    closeSync(file);
  }
};
const snapshotFile = (bytes: Buffer): string => {
  const { header, blocks } = readSnapshot(bytes);
  return JSON.stringify([header, blocks.map((block) => Buffer.from(block).toString("hex"))]);
};

/** A list that is appended to may be an older one, cut anywhere; and one that lost its last step only, whatever happened to that. */
const isOlder =
  (states: readonly string[]) =>
  (content: string, _written: string, { cutsEnd }: Mutation): boolean =>
    (cutsEnd ? states : states.slice(-2)).includes(content);
/** What the list was after each of its steps, the first state being none. */
const statesOf = (bytes: Buffer, read: (bytes: Buffer) => string): string[] =>
  [0, ...[...bytes.entries()].filter(([, byte]) => byte === 10).map(([at]) => at + 1)].map((end) =>
    read(bytes.subarray(0, end)),
  );
const historyManifest = (bytes: Buffer): string => {
  writeFileSync(manifestFile(folder), bytes);
  const { files, ends, gaps, lastSegment, tornAt } = readManifest(folder);
  // The start decides what it is: steps that are cut off took their segments with them, or were never acted on.
  if (tornAt !== undefined) return "torn";
  return JSON.stringify([[...files], ends, gaps, lastSegment]);
};
const lakeManifest = (bytes: Buffer): string => {
  writeFileSync(journalFile(folder), bytes);
  return JSON.stringify(listedFiles(folder));
};

const listFormat = (name: string, read: (bytes: Buffer) => string): { sound: Buffer } & Format => {
  const sound = readFileSync(new URL(name, goldenFolder));
  const isOlderState = isOlder(statesOf(sound, read));
  return { sound, read, mayBe: (content, ...rest) => content === "torn" || isOlderState(content, ...rest) };
};

const formats: Record<string, { sound: Buffer } & Format> = {
  "history file": { sound: hexFile("history-file"), read: historyFile },
  "snapshot file": { sound: hexFile("snapshot-file"), read: snapshotFile },
  "manifest of history files": listFormat("manifest", historyManifest),
  "manifest of the lake": listFormat("manifest.journal", lakeManifest),
};

/** What is wrong with `count` mutations of some bytes. */
const wrongOf = (name: string, sound: Buffer, { read, mayBe = () => false }: Format, count: number): string[] => {
  const written = read(sound);
  const random = randomOf(seed);
  const wrong: string[] = [];
  for (let run = 0; run < count; run++) {
    const mutation = mutate(sound, random);
    const say = (what: string): unknown => wrong.push(`${name}, ${mutation.name}: ${what} (HEADRACE_SEED=${seed})`);
    try {
      const content = read(mutation.bytes);
      if (content !== written && !mayBe(content, written, mutation)) say("something else is read");
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (!/^HR_[A-Z_]+$/.test(String(code))) say(String(error));
    }
  }
  return wrong.slice(0, 5);
};

test.each(Object.entries(formats))("a changed %s is told, or is the same", (name, { sound, ...format }) => {
  expect(wrongOf(name, sound, format, runs)).toEqual([]);
});

test("a changed segment of the write-ahead log is told; only of the newest the end may be missing, and that is told too", async () => {
  const { folder: log } = await stopped(false);
  const paths = walFiles(log).filter((path) => readFileSync(path).some((byte) => byte !== 0));
  expect(paths.length).toBeGreaterThan(3);
  const copy = join(folder, "wal");
  mkdirSync(copy);
  for (const path of paths) writeFileSync(join(copy, basename(path)), readFileSync(path));
  const recovered = (): string => {
    const blocks: string[] = [];
    const { cut } = recoverWal(copy, 0, (segment, offset, { sequence, crc }) => {
      blocks.push([segment, offset, sequence, crc].join("/"));
    });
    return JSON.stringify({ cut, blocks });
  };
  type Content = { cut?: unknown; blocks: string[] };
  const isCut = (content: string, written: string, { cutsEnd }: Mutation): boolean => {
    const [is, was] = [JSON.parse(content) as Content, JSON.parse(written) as Content];
    const isPrefix = is.blocks.every((block, index) => block === was.blocks[index]);
    const lost = was.blocks.length - is.blocks.length;
    // One change may hit the last two frames at once: nothing tells them from one torn frame (docs/promises.md).
    return isPrefix && (cutsEnd || lost === 0 || (is.cut !== undefined && lost <= 2));
  };
  for (const path of [paths[0], paths[1], paths.at(-1)] as string[]) {
    const target = join(copy, basename(path));
    const sound = readFileSync(path);
    // Zeros behind the last frame are room, not content.
    const used = sound.subarray(0, sound.byteLength - [...sound].reverse().findIndex((byte) => byte !== 0));
    const read = (bytes: Buffer): string => {
      writeFileSync(target, bytes);
      return recovered();
    };
    const isNewest = path === paths.at(-1);
    const format: Format = isNewest ? { read, mayBe: isCut } : { read };
    expect(wrongOf(basename(path), used, format, Math.ceil(runs / 4))).toEqual([]);
    writeFileSync(target, sound);
  }
});

describe("a block whose checksum nobody has looked at", () => {
  const events = (bytes: Buffer): string => {
    const reader = new EventBlockReader(bytes);
    let texts = "";
    while (reader.next())
      texts += `${reader.topic}${reader.key}${reader.payload.byteLength}${JSON.stringify(reader.properties())}`;
    return texts;
  };
  const commit = (bytes: Buffer): string => {
    const { header, state, timers, positions, meta } = decodeCommit(bytes);
    readSections(bytes, header);
    return JSON.stringify([state, timers, positions, meta]);
  };
  const value = (bytes: Buffer): string => String(decodeValue(bytes));

  test.each([
    ["events", engineGolden("events"), events],
    ["commit", engineGolden("commit"), commit],
    ["state-value", engineGolden("state-value"), value],
  ] as const)("%s: it is read to its end or refused with a code", (name, sound, read) => {
    expect(wrongOf(name, sound, { read, mayBe: () => true }, runs * 10)).toEqual([]);
  });
});
