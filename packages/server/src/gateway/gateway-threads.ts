/** Several gateway threads on one port, seen from the thread of the log: it appends their groups, checks repeats, and joins their sessions. */
import { Worker } from "node:worker_threads";
import { readBlockHeader } from "@headrace/engine";
import type { EmbeddedLog } from "../log/index.ts";
import { openRpc, type Rpc } from "../threads/index.ts";
import type { DeviceOf } from "./device-of.ts";
import { connectionCounts } from "./door.ts";
import { FanOutMessage, type WireMessage } from "./fan-out-message.ts";
import { type GatewayFigures, noFigures, sumFigures } from "./figures.ts";
import { markRepeats } from "./mark-repeats.ts";
import { type MarkChange, type Marks, settleChanges } from "./repeats.ts";
import type { Shared } from "./shared.ts";
import type { RetainedMessage, ThreadStart, ThreadStream, ThreadSubscription } from "./thread-protocol.ts";
import { ThreadSessions } from "./thread-sessions.ts";
import { assertFree } from "./transports/listener.ts";
import type { ListenerOptions } from "./transports/transport.ts";
import { Ways } from "./ways.ts";

/** Where a stream's repeats are checked, by log id. */
export interface RepeatCheck {
  readonly marks: Marks;
  devices: DeviceOf;
  repeated: number;
}

export interface ThreadsOptions {
  readonly log: EmbeddedLog;
  readonly shared: Shared;
  readonly count: number;
  readonly listeners: readonly ListenerOptions[];
  readonly checks: ReadonlyMap<number, RepeatCheck>;
  /** The channels of thread `index`, whose writer is `index` + 1. */
  readonly streamsOf: (index: number) => Promise<readonly ThreadStream[]>;
  readonly onReady: (device: string) => void;
  /** Called after each append, with its marks settled. */
  readonly afterAppend: () => void;
}

export interface Threads {
  /** In the order of the options. */
  readonly ports: readonly number[];
  figures(): GatewayFigures;
  /** Asks every thread that runs. */
  ask(method: string, args: unknown[]): Promise<unknown[]>;
  setStreams(): Promise<void>;
  close(deadlineMs: number): Promise<void>;
}

export const startThreads = async (options: ThreadsOptions): Promise<Threads> => {
  const { log, shared, count, checks } = options;
  const { retained, fanOut, limits } = shared;
  const figures: GatewayFigures[] = Array.from({ length: count }, () => noFigures);
  const connections = connectionCounts(count);
  const workers: Worker[] = [];
  const threads: Rpc[] = [];
  const running = new Set<Rpc>();

  const storeRetained = (messages: readonly RetainedMessage[]): void => {
    if (messages.length === 0) return;
    const kept = messages.map(({ message, arrivalMs }) => ({ message: new FanOutMessage(message), arrivalMs }));
    for (const { message, arrivalMs } of kept) retained.store(message, arrivalMs);
    shared.ingest.join({
      sealed: () => undefined,
      settled: (error) => {
        if (error) return;
        for (const { message, arrivalMs } of kept) retained.apply(message, arrivalMs);
        for (const message of messages) for (const thread of threads) thread.emit("retained", [message]);
      },
    });
  };

  const append = async (blocks: Uint8Array[], messages: readonly RetainedMessage[]): Promise<void> => {
    const changes: MarkChange[] = [];
    const repeats: [RepeatCheck, number][] = [];
    for (const block of blocks) {
      const check = checks.get(readBlockHeader(block).logId);
      if (check) repeats.push([check, markRepeats(block, check.marks, check.devices, changes)]);
    }
    // Same turn, same group: what is retained is stored with the events or not at all.
    storeRetained(messages);
    if (blocks.length === 0) return;
    try {
      await log.append(blocks);
    } catch (error) {
      settleChanges(changes, false);
      throw error;
    }
    settleChanges(changes, true);
    for (const [check, repeated] of repeats) check.repeated += repeated;
    options.afterAppend();
  };

  const file = import.meta.url.endsWith(".ts") ? "./gateway-worker.ts" : "./gateway-worker.js";
  let isClosing = false;
  for (let index = 0; index < count; index++) {
    const worker = new Worker(new URL(file, import.meta.url), { name: `gateway-${index + 1}` });
    worker.on("error", (error) => {
      // Its clients reconnect to the threads that are left; what it had not acknowledged they send again.
      if (!isClosing) process.emitWarning(`gateway thread ${index + 1} ended: ${error.message}`);
    });
    worker.on("exit", () => {
      Atomics.store(connections, index, 0);
      const closed = figures[index].listeners.map((counts) => ({ ...counts, connections: 0 }));
      figures[index] = { ...figures[index], listeners: closed };
      running.delete(threads[index] as Rpc);
      if (!isClosing) sessions.drop(index);
    });
    workers.push(worker);
    threads.push(
      openRpc(
        worker,
        { append },
        {
          publish: (messages: readonly WireMessage[]) => {
            for (const wire of messages) {
              const { deliveries, bytes } = ways.of(wire.topic);
              fanOut.deliver(new FanOutMessage(wire, bytes), sessions.others(index, deliveries));
            }
          },
          subscribed: (asked: ThreadSubscription) => sessions.add(index, asked),
          unsubscribed: (clientId: string, filter: string) => sessions.remove(index, clientId, filter),
          claimed: (clientId: string) => sessions.claimed(index, clientId),
          ready: (device: string) => options.onReady(device),
          figures: (now: GatewayFigures) => {
            figures[index] = now;
          },
        },
      ),
    );
  }
  for (const thread of threads) running.add(thread);
  const sessions = new ThreadSessions(threads, fanOut.subscribers, (messages) => fanOut.flushLater(messages));
  const ways = new Ways(fanOut.subscribers);

  const stop = async (): Promise<void> => {
    isClosing = true;
    await Promise.all(workers.map((worker) => worker.terminate()));
  };

  let { listeners } = options;
  try {
    for (const listener of listeners) await assertFree(listener);
    for (const [index, thread] of threads.entries()) {
      const streams = await options.streamsOf(index);
      const start: ThreadStart = { listeners, limits, streams, retained: retained.all(), connections, index };
      const ports = (await thread.call("start", [start])) as number[];
      // A free port that the first thread was given is the port of the others.
      listeners = listeners.map((listener, place) => ({ ...listener, port: ports[place] ?? listener.port }));
    }
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    ports: listeners.map(({ port }) => port),
    figures: () => sumFigures(figures),
    // One that ends meanwhile has no clients any more.
    ask: async (method, args) => {
      const answers = await Promise.allSettled([...running].map((thread) => thread.call(method, args)));
      return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    },
    setStreams: async () => {
      for (const [index, thread] of threads.entries())
        await thread.call("setStreams", [await options.streamsOf(index)]);
    },
    close: async (deadlineMs) => {
      const closed = Promise.all(threads.map((thread) => thread.call("close", [deadlineMs]))).catch(() => undefined);
      await closed;
      await stop();
    },
  };
};
