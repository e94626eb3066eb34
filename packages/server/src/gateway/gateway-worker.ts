/** A gateway thread: a listener on the shared port; groups go to the log's thread, live messages for other threads' sessions too. */
import { parentPort } from "node:worker_threads";
import type { ClientQuery, KickOptions } from "../control.ts";
import { openRpc } from "../threads/index.ts";
import { acceptConnections, assemble, drain, figuresOf, type MqttListener } from "./assemble.ts";
import { kickClient, listClients, nobody, showClient } from "./client-list.ts";
import { FanOutMessage, type WireMessage } from "./fan-out-message.ts";
import { type GatewayFigures, noFigures } from "./figures.ts";
import { Ingest } from "./ingest.ts";
import { BuilderPool, PartitionWriter } from "./partition-writer.ts";
import { anonymous, openPolicy } from "./policy.ts";
import type { Receiver } from "./receiver.ts";
import { UncheckedMarks } from "./repeats.ts";
import type { Shared } from "./shared.ts";
import { StreamState } from "./stream-state.ts";
import { ThreadLog } from "./thread-log.ts";
import { ThreadMessages } from "./thread-messages.ts";
import type { RetainedMessage, ThreadStart, ThreadStream } from "./thread-protocol.ts";
import { Ways } from "./ways.ts";

if (!parentPort) throw new Error("a gateway thread is started by the node");
const figuresIntervalMs = 250;
let shared: Shared | undefined;
let ways: Ways | undefined;
let listeners: readonly MqttListener[] = [];
const pool = new BuilderPool();
const writers = new Map<number, PartitionWriter>();

/** All other threads' sessions: what one of them asked for goes to the log's thread, which knows them. */
const others: Receiver = {
  clientId: "",
  deviceId: "",
  isThread: true,
  receive: (message) => {
    toOthers.add(message);
    return true;
  },
};

/** Messages of other threads, to those who are connected here: this thread asks the policy for each (P9). */
const deliver = (messages: readonly WireMessage[]): void => {
  if (shared === undefined || ways === undefined) return;
  for (const wire of messages) {
    const { deliveries, bytes } = ways.of(wire.topic);
    shared.fanOut.deliver(
      new FanOutMessage(wire, bytes),
      deliveries.filter(({ receiver }) => receiver !== others),
    );
  }
};

const setStreams = (streams: readonly ThreadStream[]): void => {
  const { ingest, router } = shared as Shared;
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

/** @returns the ports, in the order of the options */
const start = async ({
  listeners: options,
  limits,
  streams,
  retained,
  connections,
  index,
}: ThreadStart): Promise<number[]> => {
  const log = new ThreadLog(rpc);
  const ingest = new Ingest(log, limits.waitingBytesMax, limits.lingerMs);
  shared = await assemble({
    ingest,
    retainedLog: log,
    authorize: openPolicy,
    authenticate: anonymous,
    nowMs: Date.now,
    limits,
    connections: { counts: connections, thread: index },
    onReady: (device) => rpc.emit("ready", [device]),
  });
  const { subscribers } = shared.fanOut;
  ways = new Ways(subscribers);
  subscribers.onAdded = ({ clientId, deviceId, isThread }, subscription) => {
    if (!isThread) rpc.emit("subscribed", [{ clientId, deviceId, subscription }]);
  };
  subscribers.onRemoved = ({ clientId, isThread }, filter) => {
    if (!isThread) rpc.emit("unsubscribed", [clientId, filter]);
  };
  shared.clients.onClaimed = (clientId) => rpc.emit("claimed", [clientId]);
  setStreams(streams);
  for (const { message, arrivalMs } of retained) shared.retained.apply(new FanOutMessage(message), arrivalMs);
  listeners = await acceptConnections(shared, options, { reusePort: true });
  setInterval(() => rpc.emit("figures", [figuresNow()]), figuresIntervalMs).unref();
  return listeners.map(({ port }) => port);
};

const figuresNow = (): GatewayFigures => (shared ? figuresOf(shared, listeners) : noFigures);

const rpc = openRpc(
  parentPort,
  {
    start,
    setStreams,
    traffic: () => listeners.map((listener) => listener.status()),
    clients: (query: ClientQuery) => (shared ? listClients(shared, query) : []),
    client: (clientId: string) => shared && showClient(shared, clientId),
    kick: (clientId: string, options: KickOptions) => (shared ? kickClient(shared, clientId, options) : nobody),
    close: async (deadlineMs: number): Promise<GatewayFigures> => {
      if (shared) await drain(shared, listeners, deadlineMs);
      return figuresNow();
    },
  },
  {
    deliver,
    takeOver: (clientId: string) => shared?.clients.takeOver(clientId),
    wanted: (filter: string, isWanted: boolean) => {
      const subscribers = shared?.fanOut.subscribers;
      if (isWanted) subscribers?.add(others, { filter, qos: 1, noLocal: false, retainAsPublished: true });
      else subscribers?.remove(others, filter);
    },
    retained: ({ message, arrivalMs }: RetainedMessage) =>
      shared?.retained.apply(new FanOutMessage(message), arrivalMs),
  },
);
const toOthers = new ThreadMessages(rpc, "publish", (messages) => shared?.fanOut.flushLater(messages));
