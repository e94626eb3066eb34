/** Wills of connections that are gone, as there is room for them. */
import type { Ingest } from "./ingest.ts";

/**
 * When a whole site dies at once, its wills come all in one turn (M14): what finds no room waits until there is, each once and in order. No
 * more can wait than clients were connected.
 */
export class WillQueue {
  readonly #ingest: Pick<Ingest, "isFull" | "pauseUntilRoom">;
  #waiting: (() => void)[] = [];

  constructor(ingest: Pick<Ingest, "isFull" | "pauseUntilRoom">) {
    this.#ingest = ingest;
  }

  whenRoom(publish: () => void): void {
    const isFirst = this.#waiting.length === 0;
    if (isFirst && !this.#ingest.isFull) {
      publish();
      return;
    }
    this.#waiting.push(publish);
    if (isFirst) this.#ingest.pauseUntilRoom(() => this.#goOn());
  }

  #goOn(): void {
    let at = 0;
    for (; at < this.#waiting.length && !this.#ingest.isFull; at += 1) this.#waiting[at]?.();
    this.#waiting = this.#waiting.slice(at);
    if (this.#waiting.length > 0) this.#ingest.pauseUntilRoom(() => this.#goOn());
  }
}
