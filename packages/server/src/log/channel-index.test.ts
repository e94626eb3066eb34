/**
 * Goal: the memory of the index is bounded by files and by what is not yet rewritten, whatever is kept. Method: the bytes that the index itself
 * counts, against a bound for a block and for a file; and a real log of one record a block over many segments, read back whole.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlockHeader, readBlockHeader } from "@headrace/engine";
import { testBlock } from "@headrace/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ChannelIndex } from "./channel-index.ts";
import { EmbeddedLog } from "./embedded.ts";
import { PackedPlaces } from "./places.ts";

/** 12 bytes a block, and room to grow. */
const bytesPerBlock = 18;
const bytesPerRun = 400;

test("packed places find what a plain list finds", () => {
  const blocks = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 80, max: 2 ** 20 })), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 50 }), blocks, (first, sizes) => {
      const places = new PackedPlaces(first);
      const plain: { sequence: number; offset: number; byteLength: number }[] = [];
      let sequence = first;
      let offset = 64;
      for (const [recordCount, byteLength] of sizes) {
        expect(places.add(sequence, recordCount, offset, byteLength)).toBe(true);
        for (let record = 0; record < recordCount; record++) plain.push({ sequence, offset, byteLength });
        sequence += recordCount;
        offset += byteLength;
      }
      expect(places.endSequence).toBe(sequence);
      for (const [at, place] of plain.entries()) expect(places.at(places.indexOf(first + at))).toEqual(place);
      expect(places.indexOf(sequence)).toBe(places.count);
      expect(places.add(sequence + 1, 1, offset, 100)).toBe(false);
    }),
  );
});

test("a twentieth of 24 hours at 2,000 messages a second, a record a block, with ten segments that wait for rewriting, fits the bound", () => {
  const blocks = (24 * 3600 * 2000) / 20;
  const index = new ChannelIndex({ logId: 1, writer: 0 });
  const blocksInSegment = 220_000;
  const header = { recordCount: 1, byteLength: 300, epoch: 1 } as BlockHeader;
  for (let sequence = 0; sequence < blocks; sequence++) {
    const segment = Math.floor(sequence / blocksInSegment);
    index.add(segment, (sequence % blocksInSegment) * 300, Object.assign(header, { sequence }));
    // As the background step does it, ten segments behind.
    if (sequence % blocksInSegment === 0 && segment >= 10) {
      const firstSequence = (segment - 10) * blocksInSegment;
      const place = { path: `1/${segment}.hist`, firstSequence, endSequence: firstSequence + blocksInSegment };
      index.replaceSegment(segment - 10, [{ kind: "history", ...place, fromEntry: 0, toEntry: 128 }]);
    }
  }
  expect(index.endSequence).toBe(blocks);
  expect(index.startSequence).toBe(0);
  expect(index.byteLength).toBeLessThan(11 * blocksInSegment * bytesPerBlock + 40 * bytesPerRun);
  expect(index.byteLength).toBeLessThan(64 * 1024 * 1024);
});

test("a log of one record a block keeps bytes for a file, not for a block, and reads every record back", {
  timeout: 120_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-index-"));
  const segmentBytes = 32 * 1024;
  const open = (): Promise<EmbeddedLog> =>
    EmbeddedLog.open({
      folder,
      segmentBytes,
      onFatal: (error) => {
        throw error;
      },
    });
  const records = 6000;
  try {
    let log = await open();
    const { id: logId } = await log.open("stream/a/0", "stream");
    for (let sequence = 0; sequence < records; sequence += 50) {
      const block = (_: unknown, at: number): Uint8Array => testBlock({ logId, sequence: sequence + at });
      await Promise.all(Array.from({ length: 50 }, block).map((one) => log.append([one])));
    }
    const rewritten = (): number => log.metrics().walBytes;
    await expect.poll(rewritten, { timeout: 60_000, interval: 20 }).toBeLessThan(3 * segmentBytes);
    const check = async (): Promise<void> => {
      const before = log.metrics().indexBytes;
      expect(before).toBeLessThan(records * 10);
      let at = 0;
      while (at < records) {
        const blocks = await log.read({ logId, writer: 0 }, at, 100_000);
        expect(readBlockHeader(blocks[0]!).sequence).toBe(at);
        for (const block of blocks) at += readBlockHeader(block).recordCount;
      }
      // Read footers are kept, up to their own bound.
      expect(log.metrics().indexBytes - before).toBeLessThan(8 * 1024 * 1024);
    };
    await check();
    await log.close();
    log = await open();
    await check();
    await log.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
