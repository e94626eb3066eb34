import { EventBlockReader, recordFlag, viewOf } from "@headrace/engine";
import { checksum } from "../log/index.ts";
import type { DeviceOf } from "./device-of.ts";
import type { MarkChange, Marks } from "./repeats.ts";

/**
 * Flags the repeats of a sealed block, so that readers pass over them, and seals it again. Returns their sequences; the marks that moved
 * are added to `changes`.
 */
export const markRepeats = (block: Uint8Array, marks: Marks, devices: DeviceOf, changes: MarkChange[]): number[] => {
  const reader = new EventBlockReader(block);
  const repeats: number[] = [];
  while (reader.next()) {
    if (reader.deviceSequence < 0) continue;
    if (marks.change(marks.of(devices.of(reader)), reader.deviceEpoch, reader.deviceSequence, changes)) continue;
    block[reader.recordStart + 4] |= recordFlag.repeated;
    repeats.push(reader.sequence);
  }
  if (repeats.length > 0) viewOf(block).setUint32(12, checksum(block.subarray(16, reader.header.byteLength)), true);
  return repeats;
};
