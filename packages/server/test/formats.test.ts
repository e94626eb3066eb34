/** Goal: as packages/engine/test/formats.test.ts, for the files of the write-ahead log and of history: golden bytes are written and read. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { testBlock } from "@headrace/testkit";
import { describe, expect, test } from "vitest";
import { decodeFrameHeader, encodeFrameHeader, hashOfFrame, verifyFrame } from "../src/log/frame.ts";
import { appendManifest, readManifest } from "../src/log/history-manifest.ts";
import { decodeSegmentHeader, encodeSegmentHeader } from "../src/log/segment.ts";

const hex = (bytes: Uint8Array): string =>
  `${Buffer.from(bytes).toString("hex").replace(/.{64}/g, "$&\n").trimEnd()}\n`;
const golden = (name: string): Uint8Array =>
  new Uint8Array(
    Buffer.from(readFileSync(new URL(`./golden/${name}.hex`, import.meta.url), "latin1").replace(/\s/g, ""), "hex"),
  );
const expectGolden = (bytes: Uint8Array, name: string): Promise<void> =>
  expect(hex(bytes)).toMatchFileSnapshot(`./golden/${name}.hex`);

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
