/** All channels of all logs, by number. */
import type { BlockHeader, Channel } from "@headrace/engine";
import { ChannelIndex } from "./channel-index.ts";

export class BlockIndex {
  readonly #logs = new Map<number, Map<number, ChannelIndex>>();

  channel(channel: Channel): ChannelIndex {
    let log = this.#logs.get(channel.logId);
    if (!log) {
      log = new Map();
      this.#logs.set(channel.logId, log);
    }
    let state = log.get(channel.writer);
    if (!state) {
      state = new ChannelIndex({ logId: channel.logId, writer: channel.writer });
      log.set(channel.writer, state);
    }
    return state;
  }

  ofLog(logId: number): ChannelIndex[] {
    return [...(this.#logs.get(logId)?.values() ?? [])];
  }

  all(): ChannelIndex[] {
    return [...this.#logs.values()].flatMap((log) => [...log.values()]);
  }

  /** Memory that the whole index takes. */
  get byteLength(): number {
    return this.all().reduce((bytes, channel) => bytes + channel.byteLength, 0);
  }

  add(segment: number, offset: number, header: BlockHeader): void {
    this.channel(header).add(segment, offset, header);
  }
}
