/** Writes a marker once nothing came for a whole interval: damage before it is then corruption, not a torn tail. */

const idleMarkerMs = 100;

export class IdleMarker {
  readonly #isBusy: () => boolean;
  readonly #write: () => void;
  #timer: NodeJS.Timeout | undefined;
  #isDue = false;

  /** @param isBusy whether a group is on its way */
  constructor(isBusy: () => boolean, write: () => void) {
    this.#isBusy = isBusy;
    this.#write = write;
  }

  /** A group is durable. */
  note(): void {
    this.#isDue = true;
    this.#timer ??= setInterval(() => this.#check(), idleMarkerMs).unref();
  }

  #check(): void {
    if (this.#isDue || this.#isBusy()) {
      this.#isDue = false;
      return;
    }
    this.stop();
    this.#write();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
