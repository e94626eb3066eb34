/** When a device says something next: a steady rate with seeded jitter. Pure: time is an argument. */
import type { Random } from "./random.ts";

/** Behind by more than this (a paused process), a device goes on from now instead of catching up. */
const catchUpMsMax = 1000;

export class Schedule {
  readonly #intervalMs: number;
  readonly #jitter: number;
  readonly #random: Random;
  #steadyMs: number;
  #nextMs: number;

  /** Messages begin at a random part of the first interval, so that devices do not speak in chorus. */
  constructor(rate: number, jitter: number, random: Random, nowMs: number) {
    this.#intervalMs = 1000 / rate;
    this.#jitter = jitter;
    this.#random = random;
    this.#steadyMs = nowMs + random() * this.#intervalMs;
    this.#nextMs = this.#steadyMs;
  }

  /** When the next message is due. */
  get nextMs(): number {
    return this.#nextMs;
  }

  /** Whether a message is due; each call that says so moves on to the next one. */
  due(nowMs: number): boolean {
    if (nowMs < this.#nextMs) return false;
    if (nowMs - this.#steadyMs > Math.max(catchUpMsMax, this.#intervalMs)) this.#steadyMs = nowMs;
    this.#steadyMs += this.#intervalMs;
    // Jitter moves one message, not those after it: the rate stays exact.
    const jitterMs = this.#jitter === 0 ? 0 : this.#jitter * this.#intervalMs * (this.#random() - 0.5);
    this.#nextMs = this.#steadyMs + jitterMs;
    return true;
  }
}
