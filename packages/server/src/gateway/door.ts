/**
 * Who may come in, before anything of it is known but its address: how many at a time, how many of one address that have not shown who
 * they are, how many a second. Who is one too many is told so in CONNACK as long as that is cheap; beyond that the socket is closed.
 */
import { countReason, type Reasons } from "./figures.ts";
import type { GatewayLimits } from "./limits.ts";

/** Connections above the limit that are kept until they have been told so. */
const toldAtOnceMax = 64;
/** A CONNECT waits for its turn for as long as this; one whose turn is later is refused. */
const turnWaitMaxMs = 2_000;

/** One connection, from its accept to its end. */
export interface Visit {
  /** There are too many connections: it may only be told so. */
  readonly isOver: boolean;
  /** The client has shown who it is. */
  authenticated(): void;
  end(): void;
}

/** Connections of all gateway threads: one number for each. */
export interface ConnectionCounts {
  readonly counts: Int32Array<SharedArrayBuffer>;
  readonly thread: number;
}

export const connectionCounts = (threads: number): Int32Array<SharedArrayBuffer> =>
  new Int32Array(new SharedArrayBuffer(threads * Int32Array.BYTES_PER_ELEMENT));

export interface DoorParts {
  readonly limits: Pick<GatewayLimits, "connectionsMax" | "unauthenticatedPerAddressMax" | "connectsPerSecondMax">;
  readonly connections: ConnectionCounts;
  readonly reasons: Reasons;
  /** A clock that does not jump. */
  readonly nowMs: () => number;
}

export class Door {
  readonly #parts: DoorParts;
  readonly #strangers = new Map<string, number>();
  /** When the next CONNECT has its turn; a second's worth of turns may be saved up. */
  #nextTurnMs: number;

  constructor(parts: DoorParts) {
    this.#parts = parts;
    this.#nextTurnMs = parts.nowMs() - 1_000;
  }

  /** Takes a connection, or undefined: close the socket. */
  open(address: string): Visit | undefined {
    const { limits, reasons, connections } = this.#parts;
    const { counts, thread } = connections;
    const from = addressGroup(address);
    const strangers = this.#strangers.get(from) ?? 0;
    if (strangers >= limits.unauthenticatedPerAddressMax) {
      countReason(reasons, "address");
      return undefined;
    }
    Atomics.add(counts, thread, 1);
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total > limits.connectionsMax + toldAtOnceMax) {
      Atomics.sub(counts, thread, 1);
      countReason(reasons, "connections");
      return undefined;
    }
    this.#strangers.set(from, strangers + 1);
    let isStranger = true;
    let isOpen = true;
    const authenticated = (): void => {
      if (!isStranger) return;
      isStranger = false;
      const left = (this.#strangers.get(from) ?? 1) - 1;
      if (left === 0) this.#strangers.delete(from);
      else this.#strangers.set(from, left);
    };
    return {
      isOver: total > limits.connectionsMax,
      authenticated,
      end: () => {
        if (!isOpen) return;
        isOpen = false;
        authenticated();
        Atomics.sub(counts, thread, 1);
      },
    };
  }

  /** How long a CONNECT that has come has to wait for its turn, in ms; undefined when that would be too long. */
  turn(): number | undefined {
    const nowMs = this.#parts.nowMs();
    const waitMs = this.#nextTurnMs - nowMs;
    if (waitMs > turnWaitMaxMs) return undefined;
    this.#nextTurnMs = Math.max(this.#nextTurnMs, nowMs - 1_000) + 1_000 / this.#parts.limits.connectsPerSecondMax;
    return Math.max(0, waitMs);
  }
}

/** What one party holds: an address of version 4, the first half of one of version 6. */
const addressGroup = (address: string): string => {
  const mapped = address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
  if (!mapped.includes(":")) return mapped;
  const [before = "", after = ""] = mapped.split("::");
  const head = before.split(":");
  const tail = after === "" ? [] : after.split(":");
  const zeros = mapped.includes("::") ? Math.max(0, 8 - head.length - tail.length) : 0;
  return [...head, ...Array.from({ length: zeros }, () => "0"), ...tail].slice(0, 4).join(":");
};
