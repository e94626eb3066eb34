import { type Channel, readBlockHeader } from "@headrace/engine";
import type { EmbeddedLog } from "../log/index.ts";

const stepBytes = 4 * 1024 * 1024;

/** The blocks of a channel that are kept, oldest first, from the one that holds `fromSequence`. */
export async function* blocksOf(log: EmbeddedLog, channel: Channel, fromSequence = 0): AsyncGenerator<Uint8Array> {
  const state = log.channels(channel.logId).find(({ writer }) => writer === channel.writer);
  if (!state) return;
  let sequence = Math.max(state.startSequence, fromSequence);
  while (sequence < state.endSequence) {
    const blocks = await log.read(channel, sequence, stepBytes);
    if (blocks.length === 0) return;
    for (const block of blocks) {
      const header = readBlockHeader(block);
      sequence = header.sequence + header.recordCount;
      yield block;
    }
  }
}
