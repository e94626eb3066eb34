/**
 * File descriptors that the log keeps for itself (S7): connections may use up all that the process has, and a segment must still be opened. They stand on
 * a file that is always there; when the log is refused a descriptor one is given back, used at once, and taken again when the old segment is closed.
 */
import type { Files } from "@headrace/engine";

/** A new segment needs one; should another thread be quicker in the moment between giving it back and using it, there is one more. */
const reservedMax = 2;
const isOutOfDescriptors = (error: unknown): boolean =>
  ["EMFILE", "ENFILE"].includes((error as NodeJS.ErrnoException).code ?? "");

export class ReserveDescriptors {
  readonly #path: string;
  readonly #files: Files;
  readonly #held: number[] = [];

  /** @param path a file or folder that can be read */
  constructor(path: string, files: Files) {
    this.#path = path;
    this.#files = files;
    this.refill();
  }

  /** Takes what is missing, as far as there are any. Costs nothing while nothing is missing. */
  refill(): void {
    while (this.#held.length < reservedMax) {
      try {
        this.#held.push(this.#files.open(this.#path, "r"));
      } catch {
        // Tried again with the next group.
        return;
      }
    }
  }

  /** Runs `open`, which opens one file; when there is no descriptor left it is given a reserved one. */
  use(open: () => number): number {
    for (;;) {
      try {
        return open();
      } catch (error) {
        const given = isOutOfDescriptors(error) ? this.#held.pop() : undefined;
        if (given === undefined) throw error;
        this.#files.close(given);
      }
    }
  }

  close(): void {
    for (const descriptor of this.#held.splice(0)) this.#files.close(descriptor);
  }
}
