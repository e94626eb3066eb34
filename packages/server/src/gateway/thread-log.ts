/** The log as a gateway thread sees it: its groups go to the log's thread one at a time, so what arrives meanwhile forms the next. */
import { HeadraceError } from "@headrace/sdk";
import type { GroupSource } from "../log/index.ts";
import type { Rpc } from "../threads/index.ts";
import type { FanOutMessage } from "./fan-out-message.ts";
import type { GroupLog } from "./ingest.ts";
import type { RetainedLog } from "./retained.ts";
import type { RetainedMessage } from "./thread-protocol.ts";

export class ThreadLog implements GroupLog, RetainedLog {
  readonly #rpc: Rpc;
  #source: GroupSource | undefined;
  #retained: RetainedMessage[] = [];
  #asked = false;
  #inFlight = false;
  #timer: NodeJS.Timeout | undefined;
  /** Retained messages are kept and compacted by the log's thread. */
  readonly sequence = 0;

  constructor(rpc: Rpc) {
    this.#rpc = rpc;
  }

  addSource(source: GroupSource): () => void {
    this.#source = source;
    return () => {
      this.#source = undefined;
    };
  }

  append(message: FanOutMessage, arrivalMs: number): void {
    this.#retained.push({ message: message.toWire(), arrivalMs });
    this.requestFlush();
  }
  trim(): void {}

  requestFlush(lingerMs = 0): void {
    if (this.#asked) return;
    if (lingerMs > 0) {
      this.#timer ??= setTimeout(() => this.#flush(), lingerMs);
      return;
    }
    this.#asked = true;
    if (!this.#inFlight) setImmediate(() => this.#flush());
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#inFlight) {
      this.#asked = true;
      return;
    }
    this.#asked = false;
    const retained = this.#retained;
    this.#retained = [];
    const blocks = this.#source?.collect() ?? [];
    if (blocks.length === 0 && retained.length === 0) return;
    this.#inFlight = true;
    void this.#append(blocks, retained);
  }

  async #append(blocks: readonly Uint8Array[], retained: readonly RetainedMessage[]): Promise<void> {
    let failure: HeadraceError | undefined;
    try {
      // Copies move to the other thread; the builders' buffers stay here and are used again.
      const copies = blocks.map((block) => new Uint8Array(block));
      await this.#rpc.call(
        "append",
        [copies, retained],
        copies.map((copy) => copy.buffer),
      );
    } catch (error) {
      failure =
        error instanceof HeadraceError ? error : new HeadraceError("HR_INTERNAL", String(error), { cause: error });
    }
    this.#inFlight = false;
    if (blocks.length > 0) this.#source?.settled(failure);
    if (this.#asked) setImmediate(() => this.#flush());
  }
}
