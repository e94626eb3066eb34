/** Decides when connections send: at once when there is room (closed loop), or by the clock whatever the answers (paced). */
import type { LoadConnection, Pace } from "./connection.ts";
import type { Load } from "./messages.ts";
import { ringSize } from "./packets.ts";

const tickMs = 1;

export class Pacer implements Pace {
  readonly #connections: LoadConnection[] = [];
  #load: Load = { kind: "idle" };
  #startMs = 0;
  /** What each connection had sent when the load began. */
  #base: number[] = [];
  /** What each connection had owed at its last tick and could not send. */
  #blocked: boolean[] = [];
  #timer: NodeJS.Timeout | undefined;

  add(connection: LoadConnection): void {
    this.#connections.push(connection);
  }

  set(load: Load): void {
    clearTimeout(this.#timer);
    this.#load = load;
    this.#startMs = performance.now();
    this.#base = this.#connections.map(({ sent }) => sent);
    this.#blocked = this.#connections.map(() => false);
    if (load.kind === "closed") for (const connection of this.#connections) connection.send(ringSize, this.#startMs);
    if (load.kind === "paced") this.#tick();
  }

  due(connection: LoadConnection): number {
    const load = this.#load;
    if (load.kind === "closed") return ringSize;
    return load.kind === "paced" && this.#blocked[connection.index] ? this.#owed(connection, performance.now()) : 0;
  }

  /** Only a message that found its window full counts from when it was due: a late timer of ours is not the server's. */
  overdueSinceMs({ index, sent }: LoadConnection): number | undefined {
    const load = this.#load;
    if (load.kind !== "paced" || !this.#blocked[index]) return undefined;
    const perConnection = load.rate / this.#connections.length;
    const phase = (index / this.#connections.length) * load.burst;
    return this.#startMs + ((sent - this.#base[index]! + phase) / perConnection) * 1000;
  }

  /** Whole bursts only; connections are out of phase, so that the rate over all is even. */
  #owed({ index, sent }: LoadConnection, nowMs: number): number {
    const load = this.#load;
    if (load.kind !== "paced") return 0;
    const count = this.#connections.length;
    const phase = (index / count) * load.burst;
    const messages = ((nowMs - this.#startMs) / 1000) * (load.rate / count) - phase;
    return Math.max(0, Math.floor(messages / load.burst) * load.burst - (sent - this.#base[index]!));
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const connection of this.#connections) {
      const owed = this.#owed(connection, nowMs);
      if (owed === 0) continue;
      const sent = connection.send(owed, nowMs, this.overdueSinceMs(connection) ?? nowMs);
      this.#blocked[connection.index] = sent < owed;
    }
    this.#timer = setTimeout(() => this.#tick(), tickMs);
  }
}
