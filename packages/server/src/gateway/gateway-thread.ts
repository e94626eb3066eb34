/** One gateway thread as the thread of the log sees it: its worker, its end of the bus, its connections, its groups. */
import { Worker } from "node:worker_threads";
import type { Bus, BusHub } from "@headrace/engine";
import { type FanOutMessage, messageCodec, type WireMessage } from "./fan-out-message.ts";
import { type GatewayFigures, noFigures } from "./figures.ts";
import { Lane } from "./lane.ts";
import { RemoteConnections } from "./remote-connections.ts";
import type { Sessions } from "./sessions.ts";
import type { Shared } from "./shared.ts";
import { BusPeer } from "./thread-bus.ts";
import { type RepeatCheck, ThreadGroups } from "./thread-groups.ts";
import type {
  GroupMessage,
  ThreadPorts,
  ThreadPreparation,
  ThreadQuery,
  ThreadStart,
  ToLog,
  TookMessage,
  ToThread,
} from "./thread-protocol.ts";

export interface GatewayThreadOptions {
  readonly name: string;
  readonly shared: Shared;
  readonly sessions: Sessions;
  readonly hub: BusHub<FanOutMessage>;
  /** The end of the bus of the thread of the log. */
  readonly bus: Bus<FanOutMessage>;
  readonly checks: ReadonlyMap<number, RepeatCheck>;
  /** Called once when the thread has ended, for whatever reason, with what it died of. */
  readonly onEnd: (error: Error | undefined) => void;
}

const file = import.meta.url.endsWith(".ts") ? "./gateway-worker.ts" : "./gateway-worker.js";

export class GatewayThread {
  readonly #options: GatewayThreadOptions;
  readonly #worker: Worker;
  readonly #lane: Lane<ToThread>;
  readonly #connections: RemoteConnections;
  #peer: BusPeer<FanOutMessage, WireMessage> | undefined;
  #groups: ThreadGroups | undefined;
  #error: Error | undefined;
  #hasEnded = false;
  #figures: GatewayFigures = noFigures;

  constructor(options: GatewayThreadOptions) {
    this.#options = options;
    this.#worker = new Worker(new URL(file, import.meta.url), { name: options.name });
    this.#worker.on("error", (error) => {
      this.#error = error instanceof Error ? error : new Error(String(error));
    });
    this.#worker.on("exit", () => this.#ended());
    this.#lane = new Lane<ToThread>(
      this.#worker,
      {
        want: (filter: string) => this.#peer?.end.want(filter),
        claim: (clientId: string) => this.#peer?.end.claim(clientId),
        open: (...args: Parameters<RemoteConnections["open"]>) => this.#connections.open(...args),
        subscribe: (...args: Parameters<RemoteConnections["subscribe"]>) => this.#connections.subscribe(...args),
        list: (...args: Parameters<RemoteConnections["list"]>) => this.#connections.list(...args),
      },
      (item: ToLog) => this.#take(item),
      {
        group: (blocks: Uint8Array[], messages: GroupMessage[], took: TookMessage[]) => {
          if (!this.#hasEnded) this.#groups?.take(blocks, messages, took);
        },
      },
    );
    const { shared, sessions, bus } = options;
    this.#connections = new RemoteConnections({ shared, sessions, lane: this.#lane, bus });
  }

  #take(item: ToLog): void {
    if (this.#hasEnded) return;
    switch (item.kind) {
      case "figures":
        this.#figures = item.figures;
        break;
      case "publish":
      case "retain":
      case "unwant":
      case "release":
      case "leave":
        this.#peer?.take(item);
        break;
      default:
        this.#connections.take(item);
    }
  }

  /** Loads what the thread needs before it starts. */
  async prepare(preparation: ThreadPreparation): Promise<void> {
    await this.#lane.call("prepare", [preparation]);
  }

  /** Starts it. It joins the bus in this turn, so that it misses nothing of what is not part of `start`. */
  async start(start: ThreadStart): Promise<ThreadPorts> {
    const { shared, hub, checks } = this.#options;
    const started = this.#lane.call("start", [start]);
    const bus = new BusPeer<FanOutMessage, WireMessage>(hub, this.#lane, messageCodec);
    this.#peer = bus;
    this.#groups = new ThreadGroups({ shared, checks, connections: this.#connections, bus, lane: this.#lane });
    return (await started) as ThreadPorts;
  }

  async call(
    method: ThreadQuery | "setStreams" | "setPolicy" | "useTls" | "close",
    args: readonly unknown[],
  ): Promise<unknown> {
    return this.#lane.call(method, [...args]);
  }

  /** What it has counted, as it said last, and what was dropped on the way to it. */
  figures(): GatewayFigures {
    return { ...this.#figures, dropped: this.#figures.dropped + this.#lane.dropped };
  }

  /** Settles when nothing of it is on its way to the log. */
  async settled(): Promise<void> {
    await this.#groups?.settled;
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  /** What it had not sent is lost, and was not acknowledged; what it had sent is stored like any other's. */
  #ended(): void {
    this.#hasEnded = true;
    this.#peer?.end.leave();
    this.#connections.drop();
    this.#figures = {
      ...this.#figures,
      waitingBytes: 0,
      outgoingBytes: 0,
      listeners: this.#figures.listeners.map((counts) => ({ ...counts, connections: 0 })),
    };
    this.#options.onEnd(this.#error);
  }
}
