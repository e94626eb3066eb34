/** The Bus port between threads: the hub is in the thread of the log, and each gateway thread has one end of it at the end of a lane. */
import type { Bus, BusHub, BusMember, BusMessage } from "@headrace/engine";
import type { Lane } from "./lane.ts";

/** What a gateway thread tells the hub. */
export type BusItem<W> =
  | { readonly kind: "publish" | "retain"; readonly message: W }
  | { readonly kind: "unwant"; readonly filter: string }
  | { readonly kind: "release"; readonly clientId: string }
  | { readonly kind: "leave" };

/** What the hub tells a gateway thread. */
export interface BusHeard<W> {
  readonly kind: "heard" | "retained";
  readonly message: W;
}

/** How messages travel between threads. */
export interface BusCodec<M, W> {
  toWire(message: M): W;
  fromWire(wire: W): M;
  bytesOf(message: M): number;
}

/** The hub's side of one gateway thread. */
export class BusPeer<M extends BusMessage, W> {
  /** Publishes and claims for the thread. */
  readonly end: Bus<M>;
  readonly #codec: BusCodec<M, W>;

  constructor(hub: BusHub<M>, lane: Pick<Lane<BusHeard<W>>, "send" | "sendLive" | "call">, codec: BusCodec<M, W>) {
    this.#codec = codec;
    const bytes = (message: M): number => codec.bytesOf(message);
    this.end = hub.join({
      wanted: (filter, isWanted) => lane.call("wanted", [filter, isWanted]) as Promise<void>,
      heard: (message) => {
        lane.sendLive({ kind: "heard", message: codec.toWire(message) }, bytes(message));
      },
      retained: (message) => lane.send({ kind: "retained", message: codec.toWire(message) }, bytes(message)),
      takeOver: (clientId) => lane.call("takeOver", [clientId]) as Promise<void>,
    });
  }

  take(item: BusItem<W>): void {
    switch (item.kind) {
      case "publish":
        this.end.publish(this.#codec.fromWire(item.message));
        break;
      case "retain":
        this.end.retain(this.#codec.fromWire(item.message));
        break;
      case "unwant":
        this.end.unwant(item.filter);
        break;
      case "release":
        this.end.release(item.clientId);
        break;
      case "leave":
        this.end.leave();
        break;
      default:
        item satisfies never;
    }
  }
}

/** A gateway thread's end of the bus. */
export class ThreadBus<M extends BusMessage, W> implements Bus<M> {
  readonly #lane: Pick<Lane<BusItem<W>>, "send" | "sendLive" | "call">;
  readonly #codec: BusCodec<M, W>;

  constructor(lane: Pick<Lane<BusItem<W>>, "send" | "sendLive" | "call">, codec: BusCodec<M, W>) {
    this.#lane = lane;
    this.#codec = codec;
  }

  /** The hub's calls. */
  static methods<M extends BusMessage>(member: BusMember<M>) {
    return {
      wanted: (filter: string, isWanted: boolean) => member.wanted(filter, isWanted),
      takeOver: (clientId: string) => member.takeOver(clientId),
    };
  }

  async want(filter: string): Promise<void> {
    await this.#lane.call("want", [filter]);
  }
  unwant(filter: string): void {
    this.#lane.send({ kind: "unwant", filter });
  }
  publish(message: M): void {
    this.#lane.sendLive({ kind: "publish", message: this.#codec.toWire(message) }, this.#codec.bytesOf(message));
  }
  retain(message: M): void {
    this.#lane.send({ kind: "retain", message: this.#codec.toWire(message) }, this.#codec.bytesOf(message));
  }
  async claim(clientId: string): Promise<void> {
    await this.#lane.call("claim", [clientId]);
  }
  release(clientId: string): void {
    this.#lane.send({ kind: "release", clientId });
  }
  leave(): void {
    this.#lane.send({ kind: "leave" });
  }
}
