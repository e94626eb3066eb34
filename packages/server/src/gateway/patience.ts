/** How long a connection may take: to become connected, to say something, to take its answers, to close its side. */
import { countReason, type Reasons } from "./figures.ts";
import type { KeepAlive, Watched } from "./keep-alive.ts";
import type { GatewayLimits } from "./limits.ts";

/** How long a client may take to close its side. */
const closeDeadlineMs = 2_000;

export interface PatienceParts {
  readonly keepAlive: KeepAlive;
  readonly limits: GatewayLimits;
  readonly reasons: Reasons;
  readonly acceptedMs: number;
  readonly connectDeadlineMs: number;
  /** For how long a connected client may say nothing. */
  readonly silenceMaxMs: () => number;
  /** The client is connected, and was silent for that long. */
  readonly onSilent: (lastMs: number, nowMs: number) => void;
  /** There is nothing left to say. */
  readonly destroy: () => void;
}

export class Patience implements Watched {
  readonly #parts: PatienceParts;
  #phase: "connecting" | "connected" | "closing" = "connecting";
  /** Since when the phase runs: the accept, then CONNECT and each AUTH, never a mere byte (M16); our decision to close. */
  #phaseSinceMs: number;
  #lastMs: number;
  /** Why the client is not read, if it is not: for the node's sake, or because it does not take its answers. */
  #held: "node" | "client" | undefined;
  #heldSinceMs = 0;

  constructor(parts: PatienceParts) {
    this.#parts = parts;
    this.#phaseSinceMs = parts.acceptedMs;
    this.#lastMs = performance.now();
    parts.keepAlive.add(this);
  }

  /**
   * A client that the node does not read is not silent, so its time does not run (P7); one that does not take its answers
   * is not read for its own sake, and has a time of its own for that.
   */
  get dueMs(): number {
    const { limits, silenceMaxMs } = this.#parts;
    if (this.#phase === "closing") return this.#phaseSinceMs + closeDeadlineMs;
    if (this.#held === "client") return this.#heldSinceMs + limits.stalledMaxMs;
    const maxMs = this.#phase === "connected" ? silenceMaxMs() : this.#parts.connectDeadlineMs;
    if (this.#held === "node") return performance.now() + maxMs;
    return (this.#phase === "connected" ? this.#lastMs : this.#phaseSinceMs) + maxMs;
  }

  expired(): void {
    const { reasons, onSilent, destroy } = this.#parts;
    if (this.#phase === "connected" && this.#held === undefined) {
      onSilent(this.#lastMs, performance.now());
      return;
    }
    if (this.#phase !== "closing") {
      countReason(reasons, this.#phase === "connected" ? "answers-untaken" : "connect-deadline");
    }
    destroy();
  }

  /** When the client was last heard. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** Bytes came. */
  heard(): void {
    this.#lastMs = performance.now();
  }
  /** CONNECT or AUTH came: the client gets on. */
  steps(): void {
    this.#phaseSinceMs = this.#lastMs;
  }
  connected(): void {
    this.#phase = "connected";
    this.#parts.keepAlive.add(this);
  }
  closing(): void {
    this.#phase = "closing";
    this.#phaseSinceMs = performance.now();
    this.#parts.keepAlive.add(this);
  }

  held(by: "node" | "client"): void {
    this.#held = by;
    this.#heldSinceMs = performance.now();
    if (by === "client") this.#parts.keepAlive.add(this);
  }
  released(): void {
    if (this.#held === undefined) return;
    this.#held = undefined;
    const nowMs = performance.now();
    // What was not read meanwhile is not held against the client.
    this.#lastMs = nowMs;
    if (this.#phase === "connecting") this.#phaseSinceMs += nowMs - this.#heldSinceMs;
  }

  end(): void {
    this.#parts.keepAlive.remove(this);
  }
}
