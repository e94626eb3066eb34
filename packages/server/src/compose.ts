/**
 * Wires a node: log, gateway, runtime, lake and API, in the order in which a message passes them, and closes them in the same order.
 * Nothing else knows more than one station.
 */
import { randomUUID } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { MessageChannel } from "node:worker_threads";
import type { OwedCommand } from "@headrace/engine";
import type { PublishProperties } from "@headrace/mqtt";
import type { StreamDefinition } from "@headrace/sdk";
import { AlertFeed } from "./alert-feed.ts";
import { type Api, startApi } from "./api/index.ts";
import type { Control, NodeStatus } from "./control.ts";
import { type Gateway, type ListenerOptions, startGateway } from "./gateway/index.ts";
import { type Lake, type LakeStream, superviseLake } from "./lake/index.ts";
import { EmbeddedLeases } from "./leases/index.ts";
import { EmbeddedLog, lockFolder, serveLog, syncingLogSystem } from "./log/index.ts";
import { metricsText } from "./metrics.ts";
import type { HeadraceNode, StartOptions } from "./node.ts";
import { redriveDeadLetter } from "./redrive.ts";
import { type AppOutline, loadApp, Runtime, streamLog } from "./runtime/index.ts";
import { openRpc } from "./threads/index.ts";
import { version } from "./version.ts";

const mqttPortDefault = 1883;
const httpPortDefault = 8080;

/** Streams as stations know them: the schema stays with the functions. */
const streamsOf = (outline: AppOutline): StreamDefinition[] =>
  outline.streams.map(({ hasSchema: _hasSchema, ...stream }) => stream);

const lakeStreamsOf = (outline: AppOutline): LakeStream[] =>
  outline.streams.map(({ name, partitions, kind, columns, table, retain }) => ({
    name,
    partitions: kind === "derived" ? 1 : partitions,
    columns,
    table,
    ...(retain.ageMs !== undefined && { retainAgeMs: retain.ageMs }),
  }));

/**
 * Starts a node.
 * @throws HR_DATA_FOLDER_LOCKED, HR_DATA_FOLDER_UNUSABLE, HR_BLOCK_CORRUPT, HR_APP_LOAD_FAILED, HR_APP_INVALID, HR_PORT_IN_USE
 */
export const startNode = async (options: StartOptions): Promise<HeadraceNode> => {
  const dataFolder = resolve(options.dataFolder);
  const host = options.host ?? "127.0.0.1";
  const say = options.log ?? (() => undefined);
  const startedAtMs = Date.now();
  const closed = Promise.withResolvers<void>();
  closed.promise.catch(() => undefined);
  const undo: (() => unknown)[] = [];
  let runtime: Runtime | undefined;
  let gateway: Gateway | undefined;

  try {
    const lock = lockFolder(dataFolder);
    undo.push(() => lock[Symbol.dispose]());
    const releases = join(dataFolder, "releases");
    let release = await loadApp(options.app, releases);
    const fatal = (error: unknown): void => {
      say({ level: "error", message: `the node stops: ${error instanceof Error ? error.message : String(error)}` });
      closed.reject(error);
    };
    const log = await EmbeddedLog.open({ folder: dataFolder, onFatal: fatal, system: syncingLogSystem });
    undo.push(() => log.close());
    if (log.recoveredCut)
      say({
        level: "warn",
        message: `a torn group at the end of segment ${log.recoveredCut.segment}, byte ${log.recoveredCut.offset}, was cut: a group that was being written when the node stopped`,
      });

    const deliver = (command: OwedCommand): "sent" | "offline" => {
      const { id, name, payload, deadlineMs, device } = command;
      const properties = (): PublishProperties => ({
        responseTopic: `devices/${device}/commands/${id}/ack`,
        correlationData: Buffer.from(id),
        messageExpirySeconds: Math.max(1, Math.ceil((deadlineMs - Date.now()) / 1000)),
      });
      return gateway?.deliver(device, `devices/${device}/commands/${name}`, payload, properties) ?? "offline";
    };
    const leases = await EmbeddedLeases.open(log, `process ${process.pid}`, Date.now);
    runtime = new Runtime({ log, leases, dataFolder, release, deliver, onLog: say });
    const feed = new AlertFeed();
    await feed.start(log);
    undo.push(() => feed.close());
    await applyRetention(log, release.outline);
    undo.push(() => runtime?.close(3000));
    await runtime.start();

    gateway = await startGateway({
      tls: options.tls,
      onTrouble: (error) =>
        say({ level: "error", message: `TLS goes on with its last good files [HR_TLS_INVALID]: ${error.message}` }),
      log,
      streams: streamsOf(release.outline),
      listeners: options.listeners ?? [{ transport: "tcp", host, port: mqttPortDefault }],
      gateways: options.gateways ?? 1,
      limits: {
        ...(options.lingerMs !== undefined && { lingerMs: options.lingerMs }),
        ...(options.connectionsMax !== undefined && { connectionsMax: options.connectionsMax }),
      },
      onFatal: fatal,
    });
    const openGateway = gateway;
    undo.push(() => openGateway.close({ deadlineMs: 2000 }));
    gateway.onDeviceReady((device) => runtime?.deviceReady(device));

    const lake = await superviseLake({
      folder: join(dataFolder, "lake"),
      newLogPort: () => {
        const { port1, port2 } = new MessageChannel();
        serveLog(log, port1);
        return port2;
      },
      streams: lakeStreamsOf(release.outline),
      onTrouble: (message) => say({ level: "warn", message }),
    });
    undo.push(() => lake[Symbol.asyncDispose]());
    lake.onTrimmable((channels) => {
      for (const { logId, writer, beforeSequence } of channels) log.hold("lake", { logId, writer }, beforeSequence);
    });

    const listeners = gateway.listeners.map((listener) => ({ ...listener, url: urlOf(listener) }));
    const mqttUrl = listeners[0]?.url ?? "";
    const baseline = new Map(runtime.status().map(({ name, processed }) => [name, processed]));
    const status = async (): Promise<NodeStatus> =>
      nodeStatus({
        dataFolder,
        startedAtMs,
        mqttUrl,
        apiUrl: api?.url ?? "",
        outline: release.outline,
        log,
        gateway: openGateway,
        runtime,
        lake,
        feed,
        baseline,
      });
    const control: Control = {
      submit: (events, idempotencyKey) => openGateway.submit(events, idempotencyKey),
      status,
      query: (sql, limits) => lake.query(sql, limits),
      clients: (query) => openGateway.clients(query),
      client: (clientId) => openGateway.client(clientId),
      kickClient: (clientId, options) => openGateway.kickClient(clientId, options),
      metrics: async () => metricsText(await status()),
      redrive: (sequence, place) => redriveDeadLetter(log, openGateway, sequence, place),
    };
    const controlChannel = new MessageChannel();
    openRpc(controlChannel.port1, control as never);
    const apiLog = new MessageChannel();
    serveLog(log, apiLog.port1);
    const api: Api = await startApi({
      controlPort: controlChannel.port2,
      logPort: apiLog.port2,
      host,
      port: options.httpPort ?? httpPortDefault,
      tokenFile: join(dataFolder, "api-token"),
      streams: release.outline.streams.map(({ name, partitions, kind }) => ({
        name,
        partitions: kind === "derived" ? 1 : partitions,
      })),
    });
    undo.push(() => api[Symbol.asyncDispose]());
    const nodeFile = join(dataFolder, "node.json");
    writeFileSync(
      nodeFile,
      `${JSON.stringify({ pid: process.pid, instance: randomUUID(), apiUrl: api.url, mqttUrl })}\n`,
    );
    undo.push(() => rmSync(nodeFile, { force: true }));

    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      // API and gateway stop taking in first, then what is stored is worked off, then the log closes.
      for (const step of [
        () => api[Symbol.asyncDispose](),
        () => openGateway.close({ deadlineMs: 1500 }),
        () => runtime?.close(2000),
        () => lake[Symbol.asyncDispose](),
      ]) {
        await Promise.resolve(step()).catch((error) =>
          say({ level: "error", message: `while stopping: ${String(error)}` }),
        );
      }
      feed.close();
      await log.close();
      rmSync(nodeFile, { force: true });
      lock[Symbol.dispose]();
      closed.resolve();
    };
    return {
      listeners,
      httpPort: api.port,
      apiUrl: api.url,
      mqttUrl,
      dataFolder,
      get files() {
        return release.files;
      },
      status,
      onAlert: (listener) => feed.onAlert(listener),
      reloadTls: () => openGateway.reloadTls(),
      reload: async () => {
        const next = await loadApp(options.app, releases);
        if (next.id === release.id) return;
        release = next;
        await applyRetention(log, next.outline);
        await openGateway.setStreams(streamsOf(next.outline));
        await runtime?.reload(next);
        await lake.setStreams(lakeStreamsOf(next.outline));
      },
      closed: closed.promise,
      close: () => (closing ??= close()),
    };
  } catch (error) {
    for (const step of undo.reverse()) await Promise.resolve(step()).catch(() => undefined);
    throw error;
  }
};

const schemes = { tcp: "mqtt", tls: "mqtts", ws: "ws", wss: "wss" } as const;

const urlOf = ({ transport, host, port }: ListenerOptions): string =>
  `${schemes[transport]}://${host.includes(":") ? `[${host}]` : host}:${port}${transport.startsWith("ws") ? "/mqtt" : ""}`;

const applyRetention = async (log: EmbeddedLog, outline: AppOutline): Promise<void> => {
  for (const { name, partitions, kind, retain } of outline.streams) {
    for (let partition = 0; partition < (kind === "derived" ? 1 : partitions); partition++) {
      log.setRetention((await log.open(streamLog(name, partition), "stream")).id, retain);
    }
  }
};

const noCommands = { sent: 0, acknowledged: 0, failed: 0, expired: 0 };

interface StatusParts {
  readonly dataFolder: string;
  readonly startedAtMs: number;
  readonly mqttUrl: string;
  readonly apiUrl: string;
  readonly outline: AppOutline;
  readonly log: EmbeddedLog;
  readonly gateway: Gateway;
  readonly runtime: Runtime | undefined;
  readonly lake: Lake;
  readonly feed: AlertFeed;
  readonly baseline: ReadonlyMap<string, number>;
}

const nodeStatus = async (parts: StatusParts): Promise<NodeStatus> => {
  const { outline, log, gateway, runtime, lake, feed } = parts;
  const traffic = await gateway.traffic();
  const tasks = runtime?.status() ?? [];
  const counts = gateway.stats();
  const logMetrics = log.metrics();
  const lakeStats = lake.stats();
  const storedOf = (name: string): number =>
    log
      .list(`stream/${name}/`)
      .reduce((sum, { id }) => sum + log.channels(id).reduce((inner, { endSequence }) => inner + endSequence, 0), 0);
  return {
    version,
    application: outline.name,
    startedAtMs: parts.startedAtMs,
    dataFolder: parts.dataFolder,
    mqttUrl: parts.mqttUrl,
    apiUrl: parts.apiUrl,
    listeners: counts.listeners.flatMap((listener, index) => {
      const seen = traffic[index];
      const { transport, turnedAway } = listener;
      return seen === undefined ? [] : [{ ...seen, transport, turnedAway, url: urlOf(listener) }];
    }),
    connections: counts.connections,
    streams: outline.streams.map(({ name, partitions }) => ({ name, partitions, stored: storedOf(name) })),
    tasks,
    stored: storedBySources(outline, counts.byStream),
    processed: processedSince(outline, tasks, parts.baseline),
    repeated: counts.repeated,
    refused: counts.refused,
    rejected: storedOf("rejected"),
    gateway: {
      dropped: counts.dropped,
      waitingBytes: counts.waitingBytes,
      outgoingBytes: counts.outgoingBytes,
      matchCost: counts.matchCost,
      subscriptions: counts.subscriptions,
      retainedMessages: counts.retainedMessages,
      retainedBytes: counts.retainedBytes,
      stalls: counts.stalls,
      stalledMs: counts.stalledMs,
      restarts: counts.restarts,
      eventsDropped: counts.eventsDropped,
      reasons: counts.reasons,
    },
    alerts: { ...feed.alerts, active: runtime?.activeAlerts ?? 0 },
    commands: { ...(runtime?.commandSteps ?? noCommands), pending: runtime?.pendingCommands ?? 0 },
    lake: { rows: lakeStats.rows, files: lakeStats.files, bytes: lakeStats.bytes, lagRows: lakeStats.lagRows },
    log: {
      syncs: logMetrics.syncs,
      syncMsP50: logMetrics.syncMsP50,
      syncMsP99: logMetrics.syncMsP99,
      walBytes: logMetrics.walBytes,
      indexBytes: logMetrics.indexBytes,
      gaps: log.gaps(),
    },
  };
};

/** Events stored since this start in the source streams that the application declares. */
const storedBySources = (outline: AppOutline, byStream: Readonly<Record<string, number>>): number =>
  outline.streams.reduce(
    (sum, { name, kind, system }) => sum + (kind === "source" && !system ? (byStream[name] ?? 0) : 0),
    0,
  );

/** Events of source streams that every subscribed function has committed since this start. */
const processedSince = (
  outline: AppOutline,
  tasks: NodeStatus["tasks"],
  baseline: ReadonlyMap<string, number>,
): number => {
  let processed = 0;
  for (const stream of outline.streams) {
    if (stream.kind !== "source" || stream.system) continue;
    const perFunction = new Map<string, number>();
    for (const task of tasks) {
      if (task.stream !== stream.name) continue;
      perFunction.set(
        task.function,
        (perFunction.get(task.function) ?? 0) + task.processed - (baseline.get(task.name) ?? 0),
      );
    }
    if (perFunction.size > 0) processed += Math.min(...perFunction.values());
  }
  return processed;
};
