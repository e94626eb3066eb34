/** The gateway of one thread: listener, intake, fan-out and the streams that they feed. */
import { type PublishProperties, reasonCodes, utf8 } from "@headrace/mqtt";
import { HeadraceError, type StreamDefinition, systemStreams } from "@headrace/sdk";
import type { SubmittedEvent } from "../control.ts";
import type { EmbeddedLog } from "../log/index.ts";
import { blocksOf } from "./blocks.ts";
import { Clients } from "./clients.ts";
import { Connection, type Shared } from "./connection.ts";
import { FanOut, receivePolicy } from "./fan-out.ts";
import { FanOutMessage } from "./fan-out-message.ts";
import { Idempotency } from "./idempotency.ts";
import { Ingest } from "./ingest.ts";
import { Intake } from "./intake.ts";
import { KeepAlive } from "./keep-alive.ts";
import { defaultLimits, type GatewayLimits } from "./limits.ts";
import { MarksLog } from "./marks-log.ts";
import { listen } from "./mqtt-listener.ts";
import { BuilderPool, PartitionWriter } from "./partition-writer.ts";
import { type Authenticate, type Authorize, anonymous, openPolicy } from "./policy.ts";
import { Marks } from "./repeats.ts";
import { Retained } from "./retained.ts";
import { Router } from "./routes.ts";
import { StreamState } from "./stream-state.ts";
import { Submissions } from "./submit.ts";

export interface GatewayOptions {
  readonly log: EmbeddedLog;
  readonly streams: readonly StreamDefinition[];
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Default: {@link openPolicy}. */
  readonly authorize?: Authorize;
  /** Default: everybody is anonymous. */
  readonly authenticate?: Authenticate;
  /** Wall clock for arrival times. Default: the system's. */
  readonly nowMs?: () => number;
  /** Gateway threads, each listening on the same port. Default 1: the gateway shares its thread with the log. */
  readonly gateways?: number;
  readonly limits?: Partial<GatewayLimits>;
  readonly reusePort?: boolean;
}

export interface DeliverOptions {
  readonly qos: 1;
  readonly properties?: { readonly responseTopic?: string; readonly correlationData?: Uint8Array };
  readonly messageExpirySeconds?: number;
}

export interface GatewayStats {
  readonly connections: number;
  /** Events stored in source streams since this start. */
  readonly stored: number;
  /** Repeats that were acknowledged and not stored again. */
  readonly repeated: number;
  /** Messages that were refused with a reason, and QoS 0 messages that the policy dropped. */
  readonly refused: number;
  /** Deliveries to subscribers that were dropped because they did not keep up. */
  readonly dropped: number;
  readonly byStream: Readonly<Record<string, number>>;
}

export interface Gateway {
  readonly port: number;
  /**
   * Stores events; settles when all are durable.
   * @throws HR_OVERLOADED, HR_NOT_FOUND (no such stream, or no stream takes the topic), HR_EVENT_TOO_LARGE, HR_DISK_FULL: nothing was stored
   */
  submit(events: readonly SubmittedEvent[], idempotencyKey?: string): Promise<{ stored: number; repeated: boolean }>;
  /** Sends a message to the subscribers of a topic that belongs to a device; "sent" when a session of the device took it. */
  deliver(device: string, topic: string, payload: Uint8Array, options: DeliverOptions): "sent" | "offline";
  /** Calls `listener` with a device that has just subscribed to its commands; returns the cancellation. */
  onDeviceReady(listener: (device: string) => void): () => void;
  /** New streams from now on; what is on its way finishes under the old ones. */
  setStreams(streams: readonly StreamDefinition[]): Promise<void>;
  stats(): GatewayStats;
  /** Stops accepting, stores and acknowledges what was accepted, tells the clients (0x8B), closes. */
  close(options?: { deadlineMs?: number }): Promise<void>;
}

const dayMs = 86_400_000;
const mqttStream: StreamDefinition = {
  name: systemStreams.mqtt,
  sources: [],
  partitions: 1,
  retain: { ageMs: dayMs },
  kind: "source",
  system: true,
  columns: [],
  table: false,
};

/** Starts the gateway with the log in the same thread. @throws HR_PORT_IN_USE */
export const startGateway = async (options: GatewayOptions): Promise<Gateway> => {
  const { log } = options;
  const nowMs = options.nowMs ?? Date.now;
  const limits = { ...defaultLimits, ...options.limits };
  const authorize = options.authorize ?? openPolicy;
  const ingest = new Ingest(log, limits.waitingBytesMax);
  const pool = new BuilderPool();
  const router = new Router();
  const states = new Map<string, StreamState>();
  const writers = new Map<string, PartitionWriter>();
  const marks = new Map<string, { marks: Marks; log: MarksLog }>();

  const openWriter = async (name: string, role: "stream" | "control"): Promise<PartitionWriter> => {
    const known = writers.get(name);
    if (known) return known;
    const { id: logId } = await log.open(name, role);
    const channel = { logId, writer: 0 };
    const writer = new PartitionWriter(
      { ...channel, epoch: await log.fence(channel), sequence: log.endSequence(channel) },
      pool,
      ingest,
    );
    writers.set(name, writer);
    return writer;
  };

  const openMarks = async (stream: StreamDefinition): Promise<Marks> => {
    const known = marks.get(stream.name)?.marks;
    if (known) return known;
    const fresh = new Marks();
    marks.set(stream.name, { marks: fresh, log: await MarksLog.open(log, stream, fresh) });
    return fresh;
  };

  const setStreams = async (streams: readonly StreamDefinition[]): Promise<void> => {
    const wanted = streams.filter(({ kind }) => kind === "source");
    if (!wanted.some(({ name }) => name === systemStreams.mqtt)) wanted.push(mqttStream);
    const next: StreamState[] = [];
    for (const definition of wanted) {
      const partitions: PartitionWriter[] = [];
      for (let partition = 0; partition < definition.partitions; partition++) {
        partitions.push(await openWriter(`stream/${definition.name}/${partition}`, "stream"));
      }
      next.push(new StreamState(definition, partitions, await openMarks(definition)));
    }
    for (const state of next) states.set(state.definition.name, state);
    router.setStreams(next);
  };

  await setStreams(options.streams);
  const retainedWriter = await openWriter("retained", "control");
  const retainedChannel = { logId: retainedWriter.logId, writer: 0 };
  const retained = new Retained(ingest, retainedWriter, {
    messagesMax: limits.retainedMessagesMax,
    bytesMax: limits.retainedBytesMax,
    trim: (before) => log.trim(retainedChannel, before),
  });
  for await (const block of blocksOf(log, retainedChannel)) retained.restore(block);

  const fanOut = new FanOut(ingest, receivePolicy(authorize));
  fanOut.onRetained = (message) => retained.apply(message, nowMs());
  const intake = new Intake({ ingest, fanOut, retained, sequencedDevicesMax: limits.sequencedDevicesMax });
  ingest.afterGroup = (stored) => {
    for (const known of marks.values()) {
      known.marks.settle(stored);
      if (stored) known.log.afterGroup();
    }
    retained.compact(stored);
  };
  const idempotency = await Idempotency.open(log, ingest, limits.idempotencyKeysMax);
  const submissions = new Submissions({ ingest, router, fanOut, nowMs, idempotency });
  const keepAlive = new KeepAlive(() => performance.now());
  const clients = new Clients();
  const counters = { refused: 0 };
  const readyListeners = new Set<(device: string) => void>();
  const subscribed: Shared["subscribed"] = (filter, receiver) => {
    const device = deviceOfCommandFilter(filter, receiver.deviceId);
    if (device !== undefined) for (const listener of readyListeners) listener(device);
  };
  const authenticate = options.authenticate ?? anonymous;
  const shared: Shared = {
    router,
    ingest,
    intake,
    fanOut,
    retained,
    clients,
    keepAlive,
    limits,
    authorize,
    authenticate,
    nowMs,
    counters,
    subscribed,
  };
  const listener = await listen({
    host: options.host,
    port: options.port,
    connectionsMax: limits.connectionsMax,
    ...(options.reusePort && { reusePort: true }),
    onConnection: (socket) => void new Connection(socket, shared),
  }).catch((error: unknown) => {
    keepAlive.close();
    throw error;
  });
  let closing: Promise<void> | undefined;

  const shutDown = async (deadlineMs: number): Promise<void> => {
    listener.stop();
    clients.isShuttingDown = true;
    clients.endAll(reasonCodes.serverShuttingDown, "the node is stopping");
    const endMs = performance.now() + deadlineMs;
    while ((listener.count > 0 || ingest.isBusy) && performance.now() < endMs)
      await new Promise((resolve) => setTimeout(resolve, 5));
    listener.destroy();
    keepAlive.close();
    await Promise.all([...marks.values()].map((known) => known.log.snapshot().catch(() => undefined)));
  };

  return {
    port: listener.port,
    submit: (events, idempotencyKey) =>
      closing
        ? Promise.reject(new HeadraceError("HR_UNAVAILABLE", "the node is stopping"))
        : submissions.submit(events, idempotencyKey),
    deliver: (device, topic, payload, { properties, messageExpirySeconds }) => {
      const sent: PublishProperties = {
        ...(properties?.responseTopic !== undefined && { responseTopic: properties.responseTopic }),
        ...(properties?.correlationData !== undefined && { correlationData: properties.correlationData }),
        ...(messageExpirySeconds !== undefined && { messageExpirySeconds }),
      };
      const message = new FanOutMessage({
        topic,
        topicBytes: utf8(topic),
        payload,
        qos: 1,
        retain: false,
        properties: sent,
        publisher: undefined,
      });
      let reached = false;
      for (const delivery of fanOut.subscribers.match(topic)) {
        const isDevice =
          delivery.receiver.deviceId === device ||
          delivery.filters.some((filter) => filter.startsWith(`devices/${device}/`));
        if (fanOut.deliverTo(message, delivery) && isDevice) reached = true;
      }
      return reached ? "sent" : "offline";
    },
    onDeviceReady: (listener) => {
      readyListeners.add(listener);
      return () => readyListeners.delete(listener);
    },
    setStreams,
    stats: () => {
      const byStream = Object.fromEntries([...states.values()].map((state) => [state.definition.name, state.stored]));
      const stored = Object.values(byStream).reduce((sum, count) => sum + count, 0);
      return {
        connections: listener.count,
        stored,
        repeated: ingest.repeated,
        refused: counters.refused,
        dropped: fanOut.dropped,
        byStream,
      };
    },
    close: ({ deadlineMs = 5_000 } = {}) => {
      closing ??= shutDown(deadlineMs);
      return closing;
    },
  };
};

/** The device whose commands a filter asks for: the one it names, else the one that asks. */
const deviceOfCommandFilter = (filter: string, asking: string): string | undefined => {
  const [first, device, third] = filter.split("/");
  if (first === "#" || (first === "devices" && device === "#")) return asking;
  if ((first !== "devices" && first !== "+") || device === undefined) return undefined;
  if (third !== "commands" && third !== "#" && third !== "+") return undefined;
  return device === "+" ? asking : device;
};
