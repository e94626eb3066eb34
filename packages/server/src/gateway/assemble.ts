/** What every gateway thread has: intake, fan-out, sessions. */
import { type OutboxBudget, reasonCodes } from "@headrace/mqtt";
import type { ListenerTraffic } from "../control.ts";
import { Clients } from "./clients.ts";
import { Connection } from "./connection.ts";
import { ConnectionEvents } from "./connection-events.ts";
import type { Desk } from "./desk.ts";
import { deviceOfCommandFilter } from "./device-filter.ts";
import { type ConnectionCounts, Door } from "./door.ts";
import { FanOut, receivePolicy } from "./fan-out.ts";
import type { GatewayFigures } from "./figures.ts";
import { Flapping } from "./flapping.ts";
import type { Ingest } from "./ingest.ts";
import { Intake } from "./intake.ts";
import { KeepAlive } from "./keep-alive.ts";
import type { GatewayLimits } from "./limits.ts";
import { ListenerFigures } from "./listener-figures.ts";
import type { WholePolicy } from "./policy-module.ts";
import { Retained, type RetainedLog } from "./retained.ts";
import { Router } from "./routes.ts";
import type { Sessions } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { descriptorsFree, type Listener, openListener } from "./transports/listener.ts";
import type { TlsMaterial } from "./transports/tls-material.ts";
import type { ListenerOptions } from "./transports/transport.ts";
import { WillQueue } from "./will-queue.ts";

export interface Parts {
  readonly ingest: Ingest;
  readonly retainedLog: RetainedLog;
  readonly policy: WholePolicy;
  readonly nowMs: () => number;
  readonly limits: GatewayLimits;
  readonly connections: ConnectionCounts;
  /** Called with a device that has just subscribed to its commands. */
  readonly onReady: (device: string) => void;
  /** Opens what keeps sessions over connections; a gateway thread has none, they are in the thread of the log. */
  readonly sessions?: (fanOut: FanOut, outgoing: OutboxBudget) => Promise<Sessions>;
}

/** What each client may leave untaken when all together leave too much: below this sockets do not say when they are empty. */
const outgoingFloorBytes = 64 * 1024;

export const assemble = async (parts: Parts): Promise<Shared> => {
  const { ingest, retainedLog, policy, nowMs, limits, onReady } = parts;
  const { authorize, authenticate, mechanisms } = policy;
  const { retainedMessagesMax: messagesMax, retainedBytesMax: bytesMax, sequencedDevicesMax } = limits;
  const { retainedPerClientMax: messagesPerClientMax, retainedBytesPerClientMax: bytesPerClientMax } = limits;
  const retained = new Retained(retainedLog, { messagesMax, bytesMax, messagesPerClientMax, bytesPerClientMax });
  const fanOut = new FanOut(ingest, receivePolicy(authorize));
  const outgoing = { bytes: 0, bytesMax: limits.outgoingBytesMax, floorBytes: outgoingFloorBytes };
  const router = new Router();
  const counters = { refused: 0, eventsDropped: 0, reasons: {} };
  const perSecondMax = limits.connectionEventsPerSecondMax;
  const clock = (): number => performance.now();
  const {
    flappingConnectsMax: connectsMax,
    flappingWindowMs: windowMs,
    flappingHoldOffMs: holdOffMs,
    connectionsMax,
  } = limits;
  const sessions = await parts.sessions?.(fanOut, outgoing);
  return {
    router,
    ingest,
    intake: new Intake({ ingest, fanOut, retained, sequencedDevicesMax }),
    fanOut,
    retained,
    clients: new Clients(),
    keepAlive: new KeepAlive(clock),
    limits,
    authorize,
    authenticate,
    nowMs,
    outgoing,
    counters,
    connectionEvents: new ConnectionEvents({ ingest, router, nowMs, perSecondMax, counters }),
    door: new Door({
      limits: { ...limits, connectionsMax: Math.min(connectionsMax, descriptorsFree()) },
      connections: parts.connections,
      reasons: counters.reasons,
      nowMs: clock,
    }),
    wills: new WillQueue(ingest),
    flapping: new Flapping({ connectsMax, windowMs, holdOffMs }, clock),
    sessions,
    mechanisms,
    subscribed: (filter, receiver) => {
      const device = deviceOfCommandFilter(filter, receiver.deviceId);
      if (device !== undefined) onReady(device);
    },
  };
};

/** A listener with what it has seen. */
export interface MqttListener extends Listener {
  status(): ListenerTraffic;
}

/** Takes connections in this thread; opens all listeners or none. @throws HR_PORT_IN_USE */
export const acceptConnections = async (
  shared: Shared,
  desk: Desk,
  listeners: readonly ListenerOptions[],
  { reusePort = false, tls }: { readonly reusePort?: boolean; readonly tls?: TlsMaterial | undefined } = {},
): Promise<readonly MqttListener[]> => {
  const { door, keepAlive, limits } = shared;
  const opened: MqttListener[] = [];
  try {
    for (const options of listeners) {
      const figures = new ListenerFigures(options.transport);
      const listener = await openListener(options, {
        door,
        reusePort,
        keepAlive,
        tls,
        connectDeadlineMs: limits.connectDeadlineMs,
        accept: (wire, peer, visit) => void new Connection(wire, shared, desk, peer, visit, figures),
      });
      figures.port = listener.port;
      opened.push(Object.assign(listener, { status: () => figures.status(listener.counts) }));
    }
    return opened;
  } catch (error) {
    await Promise.all(opened.map((listener) => listener.stop()));
    throw error;
  }
};

/** Accepts no more, stores and acknowledges what was accepted, tells the clients, and closes what is open at the deadline. */
export const drain = async (shared: Shared, listeners: readonly Listener[], deadlineMs: number): Promise<void> => {
  const { clients, ingest, keepAlive } = shared;
  for (const listener of listeners) void listener.stop();
  clients.isShuttingDown = true;
  clients.endAll(reasonCodes.serverShuttingDown, "the node is stopping");
  const endMs = performance.now() + deadlineMs;
  // Sockets that never became a session are not waited for.
  while ((clients.count > 0 || ingest.isBusy) && performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (const listener of listeners) listener.destroy();
  // Sockets tell in the next turn that they are closed.
  await new Promise((resolve) => setImmediate(resolve));
  shared.connectionEvents.flush();
  while (ingest.isBusy && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 5));
  shared.connectionEvents.close();
  keepAlive.close();
};

export const figuresOf = (shared: Shared, listeners: readonly Listener[]): GatewayFigures => {
  const { ingest, outgoing, counters, fanOut, keepAlive, retained } = shared;
  return {
    listeners: listeners.map(({ counts }) => counts),
    refused: counters.refused,
    dropped: fanOut.dropped,
    waitingBytes: ingest.waitingBytes,
    outgoingBytes: outgoing.bytes,
    retainedMessages: retained.size,
    retainedBytes: retained.bytes,
    matchCost: fanOut.subscribers.matchCostMax,
    subscriptions: fanOut.subscribers.ownCount,
    stalls: keepAlive.stalls.count,
    stalledMs: keepAlive.stalls.totalMs,
    eventsDropped: counters.eventsDropped,
    reasons: counters.reasons,
  };
};
