/**
 * Goal: as packages/engine/test/formats.test.ts, for the files of the write-ahead log, of history, of snapshots and of the lake's list: golden bytes are
 * written and read.
 */
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { zstdDecompressSync } from "node:zlib";
import {
  blockKind,
  Compaction,
  commitSection,
  decodeCommit,
  encodeMeta,
  encodePositions,
  encodeState,
  encodeTimers,
  packBlock,
  readBlockHeader,
} from "@headrace/engine";
import { testBlock } from "@headrace/testkit";
import { describe, expect, test } from "vitest";
import { journalFile, type LakeFile, listedFiles, Manifest } from "../src/lake/manifest.ts";
import { checksum } from "../src/log/checksum.ts";
import { decodeFrameHeader, encodeFrameHeader, hashOfFrame, verifyFrame } from "../src/log/frame.ts";
import { readHistoryBlock, readHistoryIndex, writeHistoryFile } from "../src/log/history-file.ts";
import { appendManifest, readManifest } from "../src/log/history-manifest.ts";
import { decodeSegmentHeader, encodeSegmentHeader } from "../src/log/segment.ts";
import { readSnapshot } from "../src/runtime/snapshots/snapshot-file.ts";
import { SnapshotStore } from "../src/runtime/snapshots/store.ts";

const hex = (bytes: Uint8Array): string =>
  `${Buffer.from(bytes).toString("hex").replace(/.{64}/g, "$&\n").trimEnd()}\n`;
const golden = (name: string): Uint8Array =>
  new Uint8Array(
    Buffer.from(readFileSync(new URL(`./golden/${name}.hex`, import.meta.url), "latin1").replace(/\s/g, ""), "hex"),
  );
const expectGolden = (bytes: Uint8Array, name: string): Promise<void> =>
  expect(hex(bytes)).toMatchFileSnapshot(`./golden/${name}.hex`);
const at = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const newFolder = (): string => mkdtempSync(join(tmpdir(), "headrace-golden-"));

describe("segment header", () => {
  const segment = { number: 2 ** 40, firstGroup: 77, previousHash: 0xfedcba98, salt: 0x12345678 };
  test("is written as ever", () => expectGolden(encodeSegmentHeader(segment), "segment-header"));
  test("is read as ever", () => expect(decodeSegmentHeader(golden("segment-header"))).toEqual(segment));
});

describe("group frame", () => {
  const blocks = [testBlock({ logId: 1, sequence: 5 }), testBlock({ logId: 2, sequence: 0, recordCount: 3 })];
  const frame = { groupNumber: 2 ** 33, previousHash: 0xcafe, flags: 1, timeMs: 1_767_323_045_678, salt: 99 };

  test("is written as ever", async () => {
    const { header } = encodeFrameHeader(frame, blocks);
    await expectGolden(Buffer.concat([header, ...blocks]), "group-frame");
  });
  test("is read as ever", () => {
    const bytes = golden("group-frame");
    const header = decodeFrameHeader(bytes, 0);
    const { salt, ...fields } = frame;
    expect(header).toMatchObject({ ...fields, blockCount: 2, byteLength: bytes.byteLength });
    expect(header && verifyFrame(bytes, 0, header, salt)).toBe(true);
    expect(hashOfFrame(bytes, 0)).toBe(encodeFrameHeader(frame, blocks).hash);
  });
});

describe("manifest of history files", () => {
  const gap = { logId: 3, writer: 0, fromSequence: 5, toSequence: 9, reason: "a test", timeMs: 1_767_323_045_678 };

  test("is written as ever", async () => {
    const folder = mkdtempSync(join(tmpdir(), "headrace-golden-"));
    const file = { logId: 3, path: "3/000000000001.hist", byteLength: 1234 };
    appendManifest(folder, { segment: 1, files: [file], ends: [[3, 0, 2, 17]] });
    appendManifest(folder, { segment: 2, files: [], ends: [] });
    appendManifest(folder, { dropped: ["4/000000000001.hist"] });
    appendManifest(folder, { gaps: [gap] });
    const text = readFileSync(join(folder, "manifest"), "utf8");
    rmSync(folder, { recursive: true });
    await expect(text).toMatchFileSnapshot("./golden/manifest");
  });
  test("is read as ever", () => {
    expect(readManifest(fileURLToPath(new URL("./golden", import.meta.url)))).toEqual({
      lastSegment: 2,
      files: new Map([["3/000000000001.hist", { logId: 3, byteLength: 1234 }]]),
      ends: [[3, 0, 2, 17]],
      gaps: [gap],
    });
  });
});

describe("history file", () => {
  const blocks = [
    testBlock({ logId: 3, writer: 1, epoch: 2, sequence: 2 ** 40, recordCount: 5, contentBytes: 400 }),
    testBlock({ logId: 3, writer: 2, sequence: 7 }),
  ];
  const written = (): Uint8Array => {
    const folder = newFolder();
    const path = join(folder, "3/000000000001.hist");
    writeHistoryFile(
      path,
      3,
      blocks.map((block) => ({ header: readBlockHeader(block), block })),
    );
    const bytes = new Uint8Array(readFileSync(path));
    rmSync(folder, { recursive: true });
    return bytes;
  };
  /** A file in the parts that do not depend on the version of zstd, which may compress better one day. */
  const partsOf = (bytes: Uint8Array): unknown => {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const trailer = bytes.byteLength - 24;
    const count = view.getUint32(trailer + 8, true);
    const footer = Number(view.getBigUint64(trailer, true));
    const entries = Array.from({ length: count }, (_, index) => {
      const entry = footer + index * 56;
      const [offset, length] = [Number(view.getBigUint64(entry + 24, true)), view.getUint32(entry + 20, true)];
      const fixed = Buffer.concat([bytes.subarray(entry, entry + 20), bytes.subarray(entry + 32, entry + 36)]);
      const times = bytes.subarray(entry + 40, entry + 56);
      return [hex(fixed), hex(times), hex(zstdDecompressSync(bytes.subarray(offset, offset + length)))];
    });
    return [hex(bytes.subarray(0, 8)), entries, hex(bytes.subarray(trailer + 16)), trailer - footer];
  };

  test("is written as ever, up to the compression", () => {
    const bytes = written();
    expect(partsOf(bytes)).toEqual(partsOf(golden("history-file")));
  });
  test("is read as ever", () => {
    const folder = newFolder();
    const path = join(folder, "file");
    writeFileSync(path, golden("history-file"));
    const entries = readHistoryIndex(path, 3);
    expect(entries).toMatchObject([
      { writer: 1, epoch: 2, sequence: 2 ** 40, recordCount: 5, offset: 8 },
      { writer: 2, epoch: 1, sequence: 7, recordCount: 1 },
    ]);
    const file = openSync(path, "r");
    expect(entries.map((entry) => hex(readHistoryBlock(file, path, entry)))).toEqual(blocks.map(hex));
    closeSync(file);
    // A later version has another number at byte 4.
    const later = Uint8Array.from(golden("history-file"));
    later[4] = 2;
    writeFileSync(path, later);
    expect(() => readHistoryIndex(path, 3)).toThrow(/version 2 is unknown/);
    rmSync(folder, { recursive: true });
  });
});

describe("snapshot file", () => {
  const sections = [
    {
      type: commitSection.state,
      bytes: encodeState([
        { key: "p1", bytes: Uint8Array.of(1, 2, 3) },
        { key: "größer", bytes: Uint8Array.of(4) },
      ]),
    },
    { type: commitSection.timers, bytes: encodeTimers([{ key: "p1", name: "deadline", dueMs: at + 9 }]) },
    { type: commitSection.positions, bytes: encodePositions([{ logId: 1, writer: 0, low: 9, runs: [[11, 2 ** 40]] }]) },
    { type: commitSection.meta, bytes: encodeMeta({ timeMs: at, processed: 12, nextTimerMs: at + 9, failed: 1 }) },
  ];
  const place = { logId: 5, writer: 5, epoch: 3, sequence: 41, recordCount: 1, earliestMs: at, latestMs: at };
  const journal = packBlock({ ...place, kind: blockKind.commit }, sections, checksum);

  test("is written as ever", async () => {
    const folder = newFolder();
    const compaction = new Compaction();
    compaction.add(journal);
    const describeIt = () => ({
      journalLogId: 5,
      journalCrc: readBlockHeader(journal).crc,
      keys: compaction.content.keys,
      stateBytes: compaction.content.stateBytes,
    });
    const store = new SnapshotStore(folder);
    store.write(41, compaction.fold([], checksum), describeIt, undefined);
    const bytes = readFileSync(store.file(41));
    rmSync(folder, { recursive: true });
    await expectGolden(bytes, "snapshot-file");
  });
  test("is read as ever", () => {
    const { header, blocks } = readSnapshot(golden("snapshot-file"));
    expect(header).toMatchObject({ sequence: 41, journalLogId: 5, journalCrc: readBlockHeader(journal).crc, keys: 2 });
    const commits = blocks.map((block) => decodeCommit(block));
    expect(commits.flatMap(({ state }) => state)).toMatchObject([
      { key: "p1", bytes: Uint8Array.of(1, 2, 3), touchedMs: at },
      { key: "größer", bytes: Uint8Array.of(4), touchedMs: at },
    ]);
    expect(commits.flatMap(({ timers }) => timers)).toEqual([{ key: "p1", name: "deadline", dueMs: at + 9 }]);
    expect(commits.at(-1)).toMatchObject({
      positions: [{ logId: 1, writer: 0, low: 9, runs: [[11, 2 ** 40]] }],
      meta: { timeMs: at, processed: 12, nextTimerMs: at + 9, failed: 1 },
    });
  });
});

describe("manifest of the lake", () => {
  const file = (name: string): LakeFile => ({
    path: `s/date=2026-01-02/hour=03/${name}.parquet`,
    stream: "s",
    columns: "n:bigint",
    hour: 490_899,
    rows: 10,
    bytes: 2345,
    crc: 0xfedcba98,
    covers: [["stream/s/0", 1, 5, 15]],
  });

  test("is written as ever", async () => {
    const folder = newFolder();
    const manifest = new Manifest(folder);
    manifest.commit({ add: [file("one")], remove: [], positions: [["stream/s/0", 1, 15]] });
    manifest.commit({ add: [file("größer")], remove: [file("one").path], positions: [] });
    manifest.close();
    const text = readFileSync(journalFile(folder), "utf8");
    rmSync(folder, { recursive: true });
    await expect(text).toMatchFileSnapshot("./golden/manifest.journal");
  });
  test("is read as ever", () => {
    const kept = fileURLToPath(new URL("./golden", import.meta.url));
    expect(listedFiles(kept)).toEqual([file("größer")]);
    const folder = newFolder();
    copyFileSync(journalFile(kept), journalFile(folder));
    const manifest = new Manifest(folder);
    expect(manifest.position("stream/s/0", 1)).toBe(15);
    expect([...manifest.files.values()]).toEqual([file("größer")]);
    manifest.close();
    rmSync(folder, { recursive: true });
  });
});
