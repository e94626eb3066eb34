/** For tests: a gateway over an embedded log in a folder of its own, and the events that it stored. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventBlockReader } from "@headrace/engine";
import { HeadraceError, type StreamDefinition } from "@headrace/sdk";
import { blocksOf } from "../src/gateway/blocks.ts";
import { type Gateway, type GatewayOptions, startGateway } from "../src/gateway/gateway.ts";
import { EmbeddedLog } from "../src/log/index.ts";

export const streamOf = (name: string, pattern: string, rest: Partial<StreamDefinition> = {}): StreamDefinition => ({
  name,
  sources: [
    { kind: "mqtt", pattern },
    { kind: "http", pattern },
  ],
  partitions: 1,
  retain: {},
  kind: "source",
  system: false,
  columns: [],
  table: false,
  ...rest,
});

export interface StoredEvent {
  readonly topic: string;
  readonly key: string;
  readonly client: string;
  readonly payload: string;
  readonly sequence: number;
}

export interface TestNode extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly log: EmbeddedLog;
  /** With several gateway threads the port of the next one, each time: connections of one test are on different threads. */
  readonly port: number;
  /** The one on which all threads listen. */
  readonly sharedPort: number;
  readonly folder: string;
  readonly gateways: number;
  /** Events of a stream that count, over all partitions and writers. */
  events(stream: string): Promise<StoredEvent[]>;
  /** Payloads of a stream that was there at the start, in the order in which they were written since, over all writers. */
  inOrder(stream: string): string[];
  /** As after a crash: the log closes, the gateway is not asked. */
  crash(): Promise<void>;
  stop(): Promise<void>;
  /** Lets every group of the gateway fail as on a full disk. */
  fillDisk(isFull: boolean): void;
}

export const startTestNode = async (options: Partial<GatewayOptions> & { folder?: string } = {}): Promise<TestNode> => {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "headrace-gateway-"));
  const log = await EmbeddedLog.open({
    folder,
    onFatal: (error) => {
      throw error;
    },
  });
  let isFull = false;
  const addSource = log.addSource.bind(log);
  log.addSource = (source) =>
    addSource({
      collect: () => {
        const blocks = source.collect();
        if (!isFull || blocks.length === 0) return blocks;
        source.settled(new HeadraceError("HR_DISK_FULL", "the disk is full"));
        return [];
      },
      settled: (error) => source.settled(error),
    });
  const gateway = await startGateway({
    streams: [streamOf("readings", "plants/:plant/pumps/:device"), streamOf("raw", "raw/+")],
    listeners: [{ transport: "tcp", host: "127.0.0.1", port: 0 }],
    hasOwnPorts: true,
    ...options,
    log,
  });
  const sharedPort = gateway.listeners[0]?.port ?? 0;
  let turn = 0;
  const written = new Map<string, string[]>();
  for (const { id, name } of log.list("stream/")) {
    const stream = name.split("/")[1] as string;
    const payloads = written.get(stream) ?? [];
    written.set(stream, payloads);
    log.watchEarly(id, (block) => {
      const reader = new EventBlockReader(block);
      while (reader.next()) if (!reader.repeated) payloads.push(new TextDecoder().decode(reader.payload));
    });
  }
  let isOpen = true;
  const stop = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await gateway.close({ deadlineMs: 2_000 });
    await log.close();
  };
  return {
    gateway,
    sharedPort,
    log,
    get port() {
      const { ownPorts } = gateway;
      if (ownPorts.length === 0) return sharedPort;
      turn += 1;
      return ownPorts[turn % ownPorts.length] as number;
    },
    folder,
    gateways: options.gateways ?? 1,
    events: async (stream) => {
      const found: StoredEvent[] = [];
      for (const { id } of log.list(`stream/${stream}/`)) {
        for (const { writer } of log.channels(id)) {
          for await (const block of blocksOf(log, { logId: id, writer })) {
            const reader = new EventBlockReader(block);
            while (reader.next()) {
              if (reader.repeated) continue;
              const { topic, key, client, sequence } = reader;
              found.push({ topic, key, client, sequence, payload: new TextDecoder().decode(reader.payload) });
            }
          }
        }
      }
      return found;
    },
    inOrder: (stream) => written.get(stream) ?? [],
    crash: async () => {
      isOpen = false;
      await log.close();
      void gateway.close({ deadlineMs: 0 });
    },
    stop,
    fillDisk: (full) => {
      isFull = full;
    },
    async [Symbol.asyncDispose]() {
      await stop();
      if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
};
