/** The gateway as the rest of the node sees it: one thread together with the log, or several beside it. */
import type { PublishProperties } from "@headrace/mqtt";
import { HeadraceError, type StreamDefinition } from "@headrace/sdk";
import type {
  ClientDetail,
  ClientQuery,
  ClientSummary,
  KickOptions,
  KickResult,
  ListenerTraffic,
  SubmittedEvent,
} from "../control.ts";
import type { EmbeddedLog } from "../log/index.ts";
import { acceptConnections, assemble, drain, figuresOf } from "./assemble.ts";
import { blocksOf } from "./blocks.ts";
import { kickClient, listClients, mergePages, showClient } from "./client-list.ts";
import { DeviceDelivery } from "./device-delivery.ts";
import { connectionCounts } from "./door.ts";
import type { GatewayFigures } from "./figures.ts";
import { startThreads, type Threads } from "./gateway-threads.ts";
import { Idempotency } from "./idempotency.ts";
import { Ingest } from "./ingest.ts";
import { defaultLimits, type GatewayLimits } from "./limits.ts";
import { sumTraffic } from "./listener-figures.ts";
import type { Mechanisms } from "./mechanism.ts";
import { OwnDesk } from "./own-desk.ts";
import { BuilderPool, PartitionWriter } from "./partition-writer.ts";
import type { Authenticate, Authorize } from "./policy.ts";
import { loadPolicy, type PolicyModule, type WholePolicy, wholePolicy } from "./policy-module.ts";
import { OwnRetainedLog } from "./retained.ts";
import { Sessions } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { SourceStreams } from "./source-streams.ts";
import { Key } from "./stream-state.ts";
import { Submissions } from "./submit.ts";
import { sysFigures } from "./sys-figures.ts";
import { SysTopics } from "./sys-topics.ts";
import type { TlsFiles, TlsMaterial } from "./transports/tls-material.ts";
import { TlsWatch } from "./transports/tls-watch.ts";
import type { ListenerCounts, ListenerOptions } from "./transports/transport.ts";
import { publishWill } from "./wills.ts";

export interface GatewayOptions {
  readonly log: EmbeddedLog;
  readonly streams: readonly StreamDefinition[];
  /** Where devices connect; at least one. */
  readonly listeners: readonly ListenerOptions[];
  /** Files of the TLS listeners, which are read again when they change. */
  readonly tls?: TlsFiles | undefined;
  /** Told what is wrong with a new file: the last good ones stay in use. Default: a warning of the process. */
  readonly onTrouble?: (error: Error) => void;
  /** A policy that every thread loads, for any number of gateways. Default: {@link openPolicy}, and everybody is anonymous. */
  readonly policy?: PolicyModule;
  /** With one gateway, in place of `policy`: default {@link openPolicy}. */
  readonly authorize?: Authorize;
  /** With one gateway, in place of `policy`: default everybody is anonymous. */
  readonly authenticate?: Authenticate;
  /** With one gateway, in place of `policy`: extended authentication, by method; see {@link scram}. Default: none. */
  readonly mechanisms?: Mechanisms;
  /** Wall clock for arrival times. Default: the system's. */
  readonly nowMs?: () => number;
  /** Gateway threads, each listening on the same port. Default 1: the gateway shares its thread with the log. */
  readonly gateways?: number;
  readonly limits?: Partial<GatewayLimits>;
  /** With several threads: each also listens on a port of its own ({@link Gateway.ownPorts}), so that a client can choose. Default false. */
  readonly hasOwnPorts?: boolean;
  /** Called when a gateway thread dies again and again: the node has to end. Default: the process ends. */
  readonly onFatal?: (error: HeadraceError) => void;
  /** How often the figures under `$SYS` are published while somebody subscribes to them. Default 10 s. */
  readonly sysIntervalMs?: number;
}

/** A listener with what it has seen. */
export interface ListenerStats extends ListenerOptions, ListenerCounts {}

export interface GatewayStats extends GatewayFigures {
  /** In the order of the options. */
  readonly listeners: readonly ListenerStats[];
  readonly connections: number;
  /** Events stored in source streams since this start. */
  readonly stored: number;
  /** Repeats that were acknowledged and not stored again. */
  readonly repeated: number;
  /** Gateway threads that were started again after they had died. */
  readonly restarts: number;
  readonly byStream: Readonly<Record<string, number>>;
}

export interface Gateway {
  /** Where devices connect, with the ports that were given, in the order of the options. */
  readonly listeners: readonly ListenerOptions[];
  /** The port of each gateway thread, where it has one of its own. */
  readonly ownPorts: readonly number[];
  /**
   * Stores events; settles when all are durable.
   * @throws HR_OVERLOADED, HR_NOT_FOUND (no such stream, or no stream takes the topic), HR_EVENT_TOO_LARGE, HR_DISK_FULL: nothing was stored
   */
  submit(events: readonly SubmittedEvent[], idempotencyKey?: string): Promise<{ stored: number; repeated: boolean }>;
  /** Sends a message at QoS 1 to the subscribers of a topic that belongs to a device; "sent" when a session of the device took it.
   * `properties` are asked for when a receiver can take them. */
  deliver(device: string, topic: string, payload: Uint8Array, properties?: () => PublishProperties): "sent" | "offline";
  /** Calls `listener` with a device that has just subscribed to its commands; returns the cancellation. */
  onDeviceReady(listener: (device: string) => void): () => void;
  /** New streams from now on; what is on its way finishes under the old ones. */
  setStreams(streams: readonly StreamDefinition[]): Promise<void>;
  /** Gives the policy new data: in force in every thread when this settles, for clients that are connected too. */
  setPolicy(data: unknown): Promise<void>;
  stats(): GatewayStats;
  /** What the listeners have seen, one entry each. */
  traffic(): Promise<ListenerTraffic[]>;
  /** MQTT clients in the order of their ids, behind `query.after`; fewer than `query.limit` when there are no more. */
  clients(query: ClientQuery): Promise<ClientSummary[]>;
  /** @throws HR_NOT_FOUND */
  client(clientId: string): Promise<ClientDetail>;
  /** Ends a client's connection (0x98), and its session if asked to. @throws HR_NOT_FOUND when there is neither */
  kickClient(clientId: string, options: KickOptions): Promise<KickResult>;
  /** Reads the files of TLS again, now. A bad one is reported and changes nothing. */
  reloadTls(): void;
  /** Stops accepting, stores and acknowledges what was accepted, tells the clients (0x8B), closes. */
  close(options?: { deadlineMs?: number }): Promise<void>;
}

/** Starts the gateway. @throws HR_PORT_IN_USE naming host and port */
export const startGateway = async (options: GatewayOptions): Promise<Gateway> => {
  const { log } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const nowMs = options.nowMs ?? Date.now;
  const count = options.gateways ?? 1;
  const policy = await policyOf(options, count);
  const pool = new BuilderPool();
  const ingest = new Ingest(log, limits.waitingBytesMax, limits.lingerMs);
  const streams = new SourceStreams(log, pool, ingest);
  const readyListeners = new Set<(device: string) => void>();
  const onReady = (device: string): void => {
    for (const listener of readyListeners) listener(device);
  };
  const retainedChannel = { logId: (await log.open("retained", "control")).id, writer: 0 };
  const retainedWriter = new PartitionWriter(
    { ...retainedChannel, epoch: await log.fence(retainedChannel), sequence: log.endSequence(retainedChannel) },
    pool,
    ingest,
  );
  const { promise: opened, resolve: setSessions } = Promise.withResolvers<Sessions>();
  const shared = await assemble({
    ingest,
    retainedLog: new OwnRetainedLog(ingest, retainedWriter, (before) => log.trim(retainedChannel, before)),
    policy,
    nowMs,
    limits,
    connections: { counts: connectionCounts(1), thread: 0 },
    onReady,
    sessions: async (fanOut, outgoing) => {
      const sessions = await Sessions.open({ log, ingest, pool, fanOut, outgoing, limits, nowMs });
      setSessions(sessions);
      return sessions;
    },
  });
  const sessions = await opened;
  sessions.onWill = (session, will) =>
    publishWill(shared, session, { client: session.key, device: new Key(session.deviceId) }, will);
  const { router, fanOut, retained, keepAlive } = shared;
  for await (const block of blocksOf(log, retainedChannel)) retained.restore(block);
  fanOut.onRetained = (message, isStored) => {
    if (isStored) retained.apply(message, nowMs());
    else retained.forget(message);
  };
  router.setStreams(await streams.open(options.streams));
  const idempotency = await Idempotency.open(log, ingest, limits.idempotencyKeysMax);
  const commands = new DeviceDelivery(fanOut);
  const submissions = new Submissions({ ingest, router, fanOut, nowMs, idempotency });
  ingest.afterGroup = (stored) => {
    streams.afterGroup(stored);
    retained.compact(stored);
    sessions.afterGroup(stored);
  };
  const onTrouble = options.onTrouble ?? ((error) => process.emitWarning(error));
  const tls =
    options.tls &&
    new TlsWatch({
      files: options.tls,
      onChange: (material) => void front.useTls(material).catch(onTrouble),
      onTrouble,
    });
  let front: Front;
  try {
    front =
      count === 1
        ? await startOwn(shared, sessions, options.listeners, tls?.material)
        : await startThreads({
            shared,
            sessions,
            count,
            listeners: options.listeners,
            hasOwnPorts: options.hasOwnPorts ?? false,
            policy: options.policy,
            tls: tls?.material,
            checks: streams.checks,
            streamsOf: (writer) => streams.channelsFor(writer),
            takeOver: (writer) => streams.takeOver(writer),
            onFatal: options.onFatal ?? endProcess,
          });
  } catch (error) {
    keepAlive.close();
    tls?.[Symbol.dispose]();
    throw error;
  }
  const traffic = async (): Promise<ListenerTraffic[]> =>
    sumTraffic(((await front.ask("traffic", [])) as ListenerTraffic[][]).flat());
  const sysTopics = new SysTopics({
    fanOut,
    nowMs: () => performance.now(),
    intervalMs: options.sysIntervalMs ?? 10_000,
    collect: async () => sysFigures(shared, await traffic(), front.figures()),
  });
  tls?.start();
  let closing: Promise<void> | undefined;

  const shutDown = async (deadlineMs: number): Promise<void> => {
    tls?.[Symbol.dispose]();
    sysTopics.close();
    await front.close(deadlineMs);
    const endMs = performance.now() + deadlineMs;
    while (ingest.isBusy && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 5));
    keepAlive.close();
    sessions.close();
    await streams.close();
  };

  const listeners = options.listeners.map((listener, index) => ({
    ...listener,
    port: front.ports[index] ?? listener.port,
  }));

  return {
    listeners,
    ownPorts: front.ownPorts,
    submit: (events, idempotencyKey) =>
      closing
        ? Promise.reject(new HeadraceError("HR_UNAVAILABLE", "the node is stopping"))
        : submissions.submit(events, idempotencyKey),
    deliver: (device, topic, payload, properties) => commands.deliver(device, topic, payload, properties),
    onDeviceReady: (listener) => {
      readyListeners.add(listener);
      return () => readyListeners.delete(listener);
    },
    setStreams: async (next) => {
      router.setStreams(await streams.open(next));
      await front.setStreams();
    },
    setPolicy: async (data) => {
      policy.update(data);
      router.clear();
      await front.setPolicy(data);
    },
    stats: () => {
      const figures = front.figures();
      const { byStream, repeated } = streams.counts();
      const stored = Object.values(byStream).reduce((sum, events) => sum + events, 0);
      const connections = figures.listeners.reduce((sum, counts) => sum + counts.connections, 0);
      const counted = listeners.map((listener, index) => ({ ...listener, ...noCounts, ...figures.listeners[index] }));
      return { ...figures, listeners: counted, connections, stored, repeated: repeated + ingest.repeated, byStream };
    },
    traffic,
    clients: async (query) => {
      const pages = (await front.ask("clients", [query])) as ClientSummary[][];
      return mergePages([listClients(shared, query), ...pages], query.limit);
    },
    client: async (clientId) => {
      const found = [showClient(shared, clientId), ...((await front.ask("client", [clientId])) as Found[])];
      const client = found.find((one) => one?.state === "connected") ?? found.find((one) => one !== undefined);
      if (client === undefined) throw noClient(clientId);
      return client;
    },
    kickClient: async (clientId, options) => {
      const results = (await front.ask("kick", [clientId, options])) as KickResult[];
      results.push(kickClient(shared, clientId, options));
      const disconnected = results.some((result) => result.disconnected);
      const sessionEnded = results.some((result) => result.sessionEnded);
      if (!disconnected && !sessionEnded) throw noClient(clientId);
      return { disconnected, sessionEnded };
    },
    reloadTls: () => tls?.reload(),
    close: ({ deadlineMs = 5_000 } = {}) => {
      closing ??= shutDown(deadlineMs);
      return closing;
    },
  };
};

type Found = ClientDetail | undefined;

const noClient = (clientId: string): HeadraceError =>
  new HeadraceError("HR_NOT_FOUND", `no client ${JSON.stringify(clientId)}`, { data: { clientId } });

/** Where connections arrive. */
type Front = Threads;

const noCounts: ListenerCounts = { connections: 0, turnedAway: 0, failed: 0 };

const startOwn = async (
  shared: Shared,
  sessions: Sessions,
  options: readonly ListenerOptions[],
  tls: TlsMaterial | undefined,
): Promise<Front> => {
  const listeners = await acceptConnections(shared, new OwnDesk(shared, sessions), options, { tls });
  return {
    ports: listeners.map(({ port }) => port),
    ownPorts: [],
    figures: () => ({ ...figuresOf(shared, listeners), restarts: 0 }),
    ask: async (method) => (method === "traffic" ? [listeners.map((listener) => listener.status())] : []),
    setStreams: () => Promise.resolve(),
    setPolicy: () => Promise.resolve(),
    useTls: async (material) => {
      for (const listener of listeners) listener.useTls(material);
    },
    close: (deadlineMs) => drain(shared, listeners, deadlineMs),
  };
};

const policyOf = (options: GatewayOptions, count: number): Promise<WholePolicy> | WholePolicy => {
  const { policy, authorize, authenticate, mechanisms } = options;
  if (authorize === undefined && authenticate === undefined && mechanisms === undefined) return loadPolicy(policy);
  if (count === 1 && policy === undefined) return wholePolicy({ authorize, authenticate, mechanisms });
  throw new HeadraceError(
    "HR_BAD_REQUEST",
    "functions do not travel between threads: give several gateways their policy as a module",
  );
};

const endProcess = (error: HeadraceError): void => {
  setImmediate(() => {
    throw error;
  });
};
