/** One life of a simulated node: log, runtime and gateway as compose.ts wires them, without sockets, API and lake, on a simulated disk. */
import type { Files, OwedCommand } from "@headrace/engine";
import type { AppDefinition, HeadraceError } from "@headrace/sdk";
import { type Gateway, startGateway } from "@headrace/server/gateway";
import { EmbeddedLeases } from "@headrace/server/leases";
import { EmbeddedLog } from "@headrace/server/log";
import { type AppOutline, Runtime } from "@headrace/server/runtime";
import type { Chance } from "./chance.ts";
import { SimulatedThreads } from "./threads.ts";

export const dataFolder = "/node";

export interface NodeOptions {
  readonly chance: Chance;
  readonly files: Files;
  readonly definition: AppDefinition;
  readonly segmentBytes: number;
  readonly deliver: (command: OwedCommand) => "sent" | "offline";
  readonly onFatal: (error: HeadraceError) => void;
  readonly onLog: (message: string) => void;
  readonly onZombie: (outcome: "stored" | "refused") => void;
}

export interface SimulatedNode {
  readonly log: EmbeddedLog;
  readonly runtime: Runtime;
  readonly gateway: Gateway;
  readonly threads: SimulatedThreads;
  /** Stops as a node does that is asked to. */
  close(): Promise<void>;
}

export const outlineOf = (definition: AppDefinition): AppOutline => ({
  ...definition,
  streams: definition.streams.map(({ schema, ...stream }) => ({ ...stream, hasSchema: schema !== undefined })),
  functions: definition.functions.map(({ name, on, emits, concurrency }) => ({ name, on, emits, concurrency })),
});

/** @throws what a start throws; also when the power goes while it starts */
export const startSimulatedNode = async (options: NodeOptions): Promise<SimulatedNode> => {
  const { chance, files, definition, segmentBytes, deliver, onFatal, onLog, onZombie } = options;
  const threads = new SimulatedThreads({
    chance,
    files,
    definition,
    append: (blocks) => log.append(blocks),
    onZombie,
  });
  const random32 = (): number => chance.below(2 ** 32);
  const log = await EmbeddedLog.open({
    folder: dataFolder,
    segmentBytes,
    onFatal,
    system: { files, startMaintenance: threads.startMaintenance, random32 },
  });
  const outline = outlineOf(definition);
  const leases = await EmbeddedLeases.open(log, "simulated", Date.now);
  const runtime = new Runtime({
    log,
    leases,
    dataFolder,
    release: { id: "simulated", bundleUrl: "simulated:", outline, files: [] },
    snapshotTrigger: { journalBytesMin: 6000, factor: 1 },
    deliver,
    onLog: ({ message }) => onLog(message),
    system: {
      snapshots: { files, newCompactor: threads.newCompactor },
      startThread: threads.startThread,
    },
  });
  await runtime.start();
  const gateway = await startGateway({ log, streams: definition.streams, listeners: [], onFatal });
  gateway.onDeviceReady((device) => runtime.deviceReady(device));
  return {
    log,
    runtime,
    gateway,
    threads,
    close: async () => {
      await gateway.close({ deadlineMs: 1500 });
      await runtime.close(2000);
      await log.close();
    },
  };
};
