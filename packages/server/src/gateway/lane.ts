/**
 * What two threads tell each other, in order: all of one turn as one batch, so that a message for many clients is copied once.
 * Bounded: what the other side has not taken yet is counted, and live messages beyond the bound are dropped.
 */
import type { Transferable } from "node:worker_threads";
import { type Endpoint, openRpc, type Rpc } from "../threads/index.ts";

/** Live messages that the other thread has not taken yet, in bytes. */
const waitingBytesMax = 16 * 1024 * 1024;
const itemBytes = 64;

type Methods = Record<string, (...args: never[]) => unknown>;

export class Lane<Out> {
  /** Live messages that found no room. */
  dropped = 0;
  readonly #rpc: Rpc;
  readonly #bytesMax: number;
  #items: Out[] = [];
  #itemsBytes = 0;
  #untakenBytes = 0;
  #asked = false;

  /**
   * @param methods answer the other side's calls; what they have sent goes before the answer
   * @param take takes what the other side sends
   * @param events take what the other side emits
   */
  constructor(
    endpoint: Endpoint,
    methods: Methods,
    take: (item: never) => void,
    events: Methods = {},
    bytesMax = waitingBytesMax,
  ) {
    this.#bytesMax = bytesMax;
    const answering: Methods = {};
    for (const [name, method] of Object.entries(methods)) {
      answering[name] = async (...args) => {
        const answer = await method(...args);
        this.flush();
        return answer;
      };
    }
    this.#rpc = openRpc(endpoint, answering, {
      ...events,
      items: (items: readonly never[], bytes: number) => {
        for (const item of items) take(item);
        this.#rpc.emit("taken", [bytes]);
      },
      taken: (bytes: number) => {
        this.#untakenBytes -= bytes;
      },
    });
  }

  /** Sends an item with this turn's batch. */
  send(item: Out, contentBytes = 0): void {
    this.#items.push(item);
    this.#itemsBytes += contentBytes + itemBytes;
    if (this.#asked) return;
    this.#asked = true;
    setImmediate(() => this.flush());
  }

  /** As {@link send}, for a live message, which is dropped when the other thread does not keep up: false then. */
  sendLive(item: Out, contentBytes: number): boolean {
    if (this.#untakenBytes + this.#itemsBytes > this.#bytesMax) {
      this.dropped += 1;
      return false;
    }
    this.send(item, contentBytes);
    return true;
  }

  /** Sends what is waiting now. */
  flush(): void {
    this.#asked = false;
    if (this.#items.length === 0) return;
    const items = this.#items;
    const bytes = this.#itemsBytes;
    this.#items = [];
    this.#itemsBytes = 0;
    this.#untakenBytes += bytes;
    this.#rpc.emit("items", [items, bytes]);
  }

  /** Calls a method of the other side, behind what was sent. @throws HR_UNAVAILABLE when the thread has ended */
  call(method: string, args: unknown[], transfer?: Transferable[]): Promise<unknown> {
    this.flush();
    return this.#rpc.call(method, args, transfer);
  }

  /** Emits an event, behind what was sent. */
  emit(event: string, args: unknown[], transfer?: Transferable[]): void {
    this.flush();
    this.#rpc.emit(event, args, transfer);
  }

  /** Ends it: calls that wait fail. */
  close(): void {
    this.#rpc.close();
  }
}
