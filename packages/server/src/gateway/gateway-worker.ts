/** A gateway thread: a listener on the shared port; groups and durable sessions go to the log's thread, live messages over the bus. */
import { parentPort } from "node:worker_threads";
import type { ClientQuery, KickOptions } from "../control.ts";
import { acceptConnections, assemble, drain, figuresOf, type MqttListener } from "./assemble.ts";
import { kickClient, listClients, nobody, showClient } from "./client-list.ts";
import { FanOutMessage, messageCodec } from "./fan-out-message.ts";
import { type GatewayFigures, noFigures } from "./figures.ts";
import { Ingest } from "./ingest.ts";
import { Lane } from "./lane.ts";
import { BuilderPool, PartitionWriter } from "./partition-writer.ts";
import { loadPolicy, type WholePolicy } from "./policy-module.ts";
import type { Receiver } from "./receiver.ts";
import { UncheckedMarks } from "./repeats.ts";
import type { Shared } from "./shared.ts";
import { StreamState } from "./stream-state.ts";
import { ThreadBus } from "./thread-bus.ts";
import { ThreadDesk } from "./thread-desk.ts";
import { ThreadLog } from "./thread-log.ts";
import type { ThreadPorts, ThreadPreparation, ThreadStart, ThreadStream, ToLog, ToThread } from "./thread-protocol.ts";
import type { TlsMaterial } from "./transports/tls-material.ts";

if (!parentPort) throw new Error("a gateway thread is started by the node");
const figuresIntervalMs = 250;

/** What is there once the thread has started. */
interface Running {
  readonly shared: Shared;
  readonly desk: ThreadDesk;
  readonly log: ThreadLog;
  listeners: readonly MqttListener[];
}

let policy: WholePolicy | undefined;
let running: Running | undefined;
const pool = new BuilderPool();
const writers = new Map<number, PartitionWriter>();

/** All other gateways. What is being stored goes with its group; the rest is published when it is due. */
const others = (bus: ThreadBus<FanOutMessage, unknown>, log: ThreadLog): Receiver => ({
  clientId: "",
  deviceId: "",
  isBus: true,
  plan: (message) => {
    log.pass(message);
    return "taken";
  },
  receive: (message) => {
    // A retained message goes with a group too.
    if (!message.retain) bus.publish(message);
    return true;
  },
});

const setStreams = (streams: readonly ThreadStream[]): void => {
  if (running === undefined) return;
  const { ingest, router } = running.shared;
  const states = streams.map(({ stream, channels }) => {
    const partitions = channels.map((channel) => {
      const writer = writers.get(channel.logId) ?? new PartitionWriter(channel, pool, ingest);
      writers.set(channel.logId, writer);
      return writer;
    });
    return new StreamState(stream, partitions, new UncheckedMarks());
  });
  router.setStreams(states);
};

/** Everything but listening happens in one turn: what the log's thread sends next finds it done. */
const start = async ({
  listeners: options,
  tls,
  hasOwnPort,
  limits,
  streams,
  retained,
  connections,
  index,
}: ThreadStart): Promise<ThreadPorts> => {
  if (policy === undefined) throw new Error("the thread is not prepared");
  const log = new ThreadLog((blocks, messages, took) => {
    lane.emit(
      "group",
      [blocks, messages, took],
      blocks.map(({ buffer }) => buffer),
    );
  });
  const ingest = new Ingest(log, limits.waitingBytesMax, limits.lingerMs);
  ingest.carries = () => log.carries;
  const shared = await assemble({
    ingest,
    retainedLog: log,
    policy,
    nowMs: Date.now,
    limits,
    connections: { counts: connections, thread: index },
    // The thread of the log knows: it lists what commands need.
    onReady: () => undefined,
  });
  const { fanOut, retained: kept } = shared;
  fanOut.isRepeat = (message) => log.isRepeat(message);
  fanOut.onRetained = (message, isStored) => {
    if (isStored) kept.apply(message, message.arrivalMs);
    else kept.forget(message);
  };
  const took = (number: number, packetId: number): void => log.took(number, packetId);
  const desk = new ThreadDesk({ shared, bus, lane, took });
  const started: Running = { shared, desk, log, listeners: [] };
  running = started;
  outside = others(bus, log);
  setStreams(streams);
  for (const wire of retained) shared.retained.apply(FanOutMessage.fromWire(wire), wire.arrivalMs);
  started.listeners = await acceptConnections(shared, desk, options, { reusePort: true, tls });
  const ports = started.listeners.map(({ port }) => port);
  const own = hasOwnPort
    ? await acceptConnections(
        shared,
        desk,
        options.slice(0, 1).map((listener) => ({ ...listener, port: 0 })),
        { tls },
      )
    : [];
  started.listeners = [...started.listeners, ...own];
  setInterval(() => lane.send({ kind: "figures", figures: figuresNow() }), figuresIntervalMs).unref();
  return { ports, ownPort: own[0]?.port };
};
let outside: Receiver | undefined;

const figuresNow = (): GatewayFigures => {
  if (running === undefined) return noFigures;
  const figures = figuresOf(running.shared, running.listeners);
  return { ...figures, dropped: figures.dropped + lane.dropped };
};

const takeItem = (item: ToThread): void => {
  if (running === undefined) return;
  const { shared, desk, log } = running;
  switch (item.kind) {
    case "heard":
      shared.fanOut.heard(FanOutMessage.fromWire(item.message));
      break;
    case "retained":
      shared.retained.apply(FanOutMessage.fromWire(item.message), item.message.arrivalMs);
      break;
    case "stored":
      log.stored(item);
      break;
    default:
      desk.take(item);
  }
};

const lane: Lane<ToLog> = new Lane(
  parentPort,
  {
    prepare: async (preparation: ThreadPreparation) => {
      policy = await loadPolicy(preparation.policy);
    },
    start,
    setStreams,
    setPolicy: (data: unknown) => {
      policy?.update(data);
      running?.shared.router.clear();
    },
    useTls: (material: TlsMaterial) => {
      for (const listener of running?.listeners ?? []) listener.useTls(material);
    },
    traffic: () => running?.listeners.map((listener) => listener.status()) ?? [],
    clients: (query: ClientQuery) => (running ? listClients(running.shared, query) : []),
    client: (clientId: string) => running && showClient(running.shared, clientId),
    kick: (clientId: string, options: KickOptions) =>
      running ? kickClient(running.shared, clientId, options) : nobody,
    close: async (deadlineMs: number) => {
      if (running !== undefined) await drain(running.shared, running.listeners, deadlineMs);
      lane.send({ kind: "figures", figures: figuresNow() });
    },
    wanted: (filter: string, isWanted: boolean) => {
      const subscribers = running?.shared.fanOut.subscribers;
      if (outside === undefined) return;
      if (isWanted) subscribers?.add(outside, { filter, qos: 2, noLocal: false, retainAsPublished: true });
      else subscribers?.remove(outside, filter);
    },
    takeOver: (clientId: string) => running?.desk.takeOver(clientId),
  },
  takeItem,
);
const bus = new ThreadBus(lane, messageCodec);
