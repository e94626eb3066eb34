/** The Log port over a MessagePort: what the control thread, the lake and further gateway threads use. */
import type { MessagePort } from "node:worker_threads";
import type { Channel, ChannelState, Log, LogInfo, LogRole } from "@headrace/engine";
import { Moved, openRpc } from "../threads/index.ts";

type WatchState = { logId: number; channels: ChannelState[] };

/** Serves `log` to one other thread. Only logs that the other side watches cost it messages, one a group at the most. */
export const serveLog = (log: Log, port: MessagePort): { close(): void } => {
  const watched = new Map<number, () => void>();
  const rpc = openRpc(port, {
    open: (name: string, role: LogRole) => log.open(name, role),
    list: (prefix: string) => log.list(prefix),
    append: (group: Uint8Array[]) => log.append(group),
    fence: (channel: Channel, epoch?: number) => log.fence(channel, epoch),
    channels: (logId: number) => log.channels(logId),
    trim: (channel: Channel, beforeSequence: number) => log.trim(channel, beforeSequence),
    read: async (channel: Channel, fromSequence: number, maxBytes: number) => {
      const blocks = await log.read(channel, fromSequence, maxBytes);
      const own = blocks.map((block) => new Uint8Array(block));
      return new Moved(
        own,
        own.map((block) => block.buffer),
      );
    },
    watch: (logId: number) => {
      if (watched.has(logId)) return;
      const cancel = log.watch(logId, () =>
        rpc.emit("appended", [{ logId, channels: log.channels(logId) } satisfies WatchState]),
      );
      watched.set(logId, cancel);
    },
    unwatch: (logId: number) => {
      watched.get(logId)?.();
      watched.delete(logId);
    },
  });
  const close = (): void => {
    for (const cancel of watched.values()) cancel();
    watched.clear();
  };
  port.on("close", close);
  return {
    close: () => {
      close();
      rpc.close();
    },
  };
};

/** A Log whose calls are answered by {@link serveLog} in another thread. `channels` and `list` there are synchronous; here they are asked for with the `…Now` twins. */
export class RemoteLog {
  readonly prefixDurable = false;
  readonly #rpc: ReturnType<typeof openRpc>;
  readonly #listeners = new Map<number, Set<() => void>>();

  constructor(port: MessagePort) {
    this.#rpc = openRpc(
      port,
      {},
      {
        appended: (state: WatchState) => {
          for (const listener of this.#listeners.get(state.logId) ?? []) listener();
        },
      },
    );
  }
  open(name: string, role: LogRole): Promise<LogInfo> {
    return this.#rpc.call("open", [name, role]) as Promise<LogInfo>;
  }
  list(prefix: string): Promise<LogInfo[]> {
    return this.#rpc.call("list", [prefix]) as Promise<LogInfo[]>;
  }
  async append(group: readonly Uint8Array[]): Promise<void> {
    await this.#rpc.call("append", [group]);
  }
  fence(channel: Channel, epoch?: number): Promise<number> {
    return this.#rpc.call("fence", [channel, epoch]) as Promise<number>;
  }
  channels(logId: number): Promise<ChannelState[]> {
    return this.#rpc.call("channels", [logId]) as Promise<ChannelState[]>;
  }
  read(channel: Channel, fromSequence: number, maxBytes: number): Promise<Uint8Array[]> {
    return this.#rpc.call("read", [channel, fromSequence, maxBytes]) as Promise<Uint8Array[]>;
  }
  async trim(channel: Channel, beforeSequence: number): Promise<void> {
    await this.#rpc.call("trim", [channel, beforeSequence]);
  }
  watch(logId: number, listener: () => void): () => void {
    const listeners = this.#listeners.get(logId) ?? new Set();
    this.#listeners.set(logId, listeners);
    if (listeners.size === 0) void this.#rpc.call("watch", [logId]);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) void this.#rpc.call("unwatch", [logId]);
    };
  }
  close(): void {
    this.#rpc.close();
  }
}
