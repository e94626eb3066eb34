/**
 * Goal (P7): under load at many times its retention a log takes a constant room on disk, and what it keeps can be read.
 * Method: the job of the soak with tiny segments, until sixteen times the retention has been written.
 */
import { expect, test } from "vitest";
import { temporaryFolder } from "../node-process.ts";
import { diskBytesMax, loadRetained, type RetainedLoad } from "./retained-log.ts";

test("P7: a log under load takes no more room than its retention and some segments", async () => {
  using folder = temporaryFolder();
  const retainBytes = 1 << 20;
  const load: RetainedLoad = {
    folder: folder.path,
    segmentBytes: 128 * 1024,
    retainBytes,
    isEnough: (writtenBytes) => writtenBytes > 16 * retainBytes,
  };
  const { samples, startSequence, endSequence, readRecords } = await loadRetained(load);
  expect(Math.max(...samples.map(({ diskBytes }) => diskBytes))).toBeLessThanOrEqual(diskBytesMax(load));
  expect(startSequence).toBeGreaterThan(endSequence / 2);
  expect(readRecords).toBe(endSequence - startSequence);
  expect(readRecords * 32 * 1024).toBeGreaterThan(retainBytes / 2);
});
