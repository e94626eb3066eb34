/** Several gateway threads on one port: started, joined by a bus, and started again when one dies. */
import { BusHub } from "@headrace/engine";
import { SubscriptionTree } from "@headrace/mqtt";
import { HeadraceError } from "@headrace/sdk";
import { figuresOf } from "./assemble.ts";
import { connectionCounts } from "./door.ts";
import type { FanOutMessage } from "./fan-out-message.ts";
import { type GatewayFigures, noFigures, sumFigures } from "./figures.ts";
import { GatewayThread } from "./gateway-thread.ts";
import type { PolicyModule } from "./policy-module.ts";
import type { Receiver } from "./receiver.ts";
import { innerFilter } from "./remote-connections.ts";
import { Respawn } from "./respawn.ts";
import type { Sessions } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import type { RepeatCheck } from "./thread-groups.ts";
import type { ThreadQuery, ThreadStream } from "./thread-protocol.ts";
import { assertFree } from "./transports/listener.ts";
import type { TlsMaterial } from "./transports/tls-material.ts";
import type { ListenerOptions } from "./transports/transport.ts";

export interface ThreadsOptions {
  readonly shared: Shared;
  readonly sessions: Sessions;
  readonly count: number;
  readonly listeners: readonly ListenerOptions[];
  /** Whether each thread also listens on a port of its own. */
  readonly hasOwnPorts: boolean;
  readonly policy: PolicyModule | undefined;
  readonly tls: TlsMaterial | undefined;
  readonly checks: ReadonlyMap<number, RepeatCheck>;
  /** The channels of a writer: thread `index` is writer `index` + 1. */
  readonly streamsOf: (writer: number) => Promise<readonly ThreadStream[]>;
  /** Takes over the channels of a writer whose thread is gone. */
  readonly takeOver: (writer: number) => Promise<void>;
  /** Called when a thread dies again and again: the node has to end. */
  readonly onFatal: (error: HeadraceError) => void;
}

export interface Threads {
  /** In the order of the options. */
  readonly ports: readonly number[];
  /** The port of each thread, where it has one of its own. */
  readonly ownPorts: readonly number[];
  figures(): GatewayFigures & { readonly restarts: number };
  /** Asks every thread that runs. */
  ask(method: ThreadQuery, args: readonly unknown[]): Promise<unknown[]>;
  setStreams(): Promise<void>;
  setPolicy(data: unknown): Promise<void>;
  /** For TLS handshakes from now on. */
  useTls(material: TlsMaterial): Promise<void>;
  close(deadlineMs: number): Promise<void>;
}

export const startThreads = async (options: ThreadsOptions): Promise<Threads> => {
  const { shared, sessions, count, checks } = options;
  const { retained, limits } = shared;
  const { hub, bus } = joinOwn(shared, sessions);
  const threads: (GatewayThread | undefined)[] = [];
  /** Those that died, until they are started again. */
  const stopped: (GatewayThread | undefined)[] = [];
  /** What threads that died have counted. */
  let before: GatewayFigures = noFigures;
  let restarts = 0;
  const connections = connectionCounts(count);
  let isClosing = false;
  let { policy, listeners, tls } = options;
  const ownPorts: number[] = [];

  const newThread = (index: number): GatewayThread => {
    const thread: GatewayThread = new GatewayThread({
      name: `gateway-${index + 1}`,
      shared,
      sessions,
      hub,
      bus,
      checks,
      onEnd: (error) => ended(index, thread, error),
    });
    threads[index] = thread;
    return thread;
  };

  const startThread = async (index: number, thread: GatewayThread): Promise<void> => {
    const streams = await options.streamsOf(index + 1);
    const { hasOwnPorts: hasOwnPort } = options;
    const { ports, ownPort } = await thread.start({
      listeners,
      tls,
      hasOwnPort,
      limits,
      streams,
      retained: retained.all(),
      connections,
      index,
    });
    // A free port that the first thread was given is the port of the others.
    listeners = listeners.map((listener, place) => ({ ...listener, port: ports[place] ?? listener.port }));
    if (ownPort !== undefined) ownPorts[index] = ownPort;
  };

  const respawns = Array.from({ length: count }, (_, index) => new Respawn(async () => restart(index)));

  const restart = async (index: number): Promise<void> => {
    await stopped[index]?.settled();
    await options.takeOver(index + 1);
    if (isClosing) return;
    restarts += 1;
    const thread = newThread(index);
    try {
      await thread.prepare({ policy });
      await startThread(index, thread);
    } catch {
      // Its end is seen to there.
      await thread.terminate();
    }
  };

  let isStarted = false;
  const ended = (index: number, thread: GatewayThread, error: Error | undefined): void => {
    before = sumFigures([before, thread.figures()]);
    Atomics.store(connections, index, 0);
    threads[index] = undefined;
    stopped[index] = thread;
    if (isClosing || !isStarted) return;
    const reason = error?.message ?? "it ended by itself";
    process.emitWarning(`gateway thread ${index + 1} ended and is started again: ${reason}`);
    if (respawns[index]?.again()) return;
    const message = `gateway thread ${index + 1} dies again and again, at last because: ${reason}`;
    options.onFatal(new HeadraceError("HR_GATEWAY_FAILED", message, error && { cause: error }));
  };

  const stop = async (): Promise<void> => {
    isClosing = true;
    for (const respawn of respawns) respawn.stop();
    await Promise.all(threads.map((thread) => thread?.terminate()));
  };
  /** Calls every thread; one that dies meanwhile starts with what is new. */
  const callAll = async (call: (thread: GatewayThread, index: number) => Promise<unknown>): Promise<void> => {
    await Promise.allSettled(threads.map((thread, index) => thread && call(thread, index)));
  };

  try {
    for (const listener of listeners) await assertFree(listener);
    const all = Array.from({ length: count }, (_, index) => newThread(index));
    await Promise.all(all.map((thread) => thread.prepare({ policy })));
    for (const [index, thread] of all.entries()) await startThread(index, thread);
    isStarted = true;
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    ports: listeners.map(({ port }) => port),
    ownPorts,
    figures: () => {
      const now = threads.flatMap((thread) => (thread ? [thread.figures()] : []));
      return { ...sumFigures([before, figuresOf(shared, []), ...now]), restarts };
    },
    // One that ends meanwhile has no clients any more.
    ask: async (method, args) => {
      const answers = await Promise.allSettled(
        threads.flatMap((thread) => (thread ? [thread.call(method, args)] : [])),
      );
      return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    },
    setStreams: () => callAll(async (thread, index) => thread.call("setStreams", [await options.streamsOf(index + 1)])),
    setPolicy: (data) => {
      if (policy !== undefined) policy = { ...policy, data };
      return callAll((thread) => thread.call("setPolicy", [data]));
    },
    useTls: (material) => {
      tls = material;
      return callAll((thread) => thread.call("useTls", [material]));
    },
    close: async (deadlineMs) => {
      isClosing = true;
      await callAll((thread) => thread.call("close", [deadlineMs]));
      await stop();
    },
  };
};

/** The bus, and on it the thread of the log: what durable sessions and shared subscriptions want, and what the node itself publishes. */
const joinOwn = (shared: Shared, sessions: Sessions) => {
  const { fanOut, retained, nowMs } = shared;
  const { subscribers } = fanOut;
  const hub = new BusHub<FanOutMessage>(<T>() => new SubscriptionTree<T>());
  const others: Receiver = {
    clientId: "",
    deviceId: "",
    isBus: true,
    receive: (message) => {
      bus.publish(message);
      return true;
    },
  };
  const bus = hub.join({
    wanted: (filter, isWanted) => {
      if (isWanted) subscribers.add(others, { filter, qos: 2, noLocal: false, retainAsPublished: true });
      else subscribers.remove(others, filter);
    },
    heard: (message) => fanOut.heard(message),
    // Where it comes from, it has been applied.
    retained: () => undefined,
    takeOver: () => Promise.resolve(),
  });
  const isOwn = (receiver: Receiver, filter: string): boolean =>
    !receiver.isBus && (!receiver.isElsewhere || filter !== innerFilter(filter));
  subscribers.onAdded = (receiver, { filter }) => {
    if (isOwn(receiver, filter)) void bus.want(innerFilter(filter));
  };
  subscribers.onRemoved = (receiver, filter) => {
    if (isOwn(receiver, filter)) bus.unwant(innerFilter(filter));
  };
  for (const { state } of sessions.values()) {
    for (const { filter } of state.subscriptions.values()) void bus.want(innerFilter(filter));
  }
  fanOut.onRetained = (message, isStored) => {
    if (!isStored) {
      retained.forget(message);
      return;
    }
    retained.apply(message, nowMs());
    bus.retain(message);
  };
  return { hub, bus };
};
