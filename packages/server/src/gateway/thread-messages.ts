/** Messages to another thread: those of one turn travel together, so that its sockets get them in one write. */
import type { Rpc } from "../threads/index.ts";
import type { Flushable } from "./fan-out.ts";
import type { FanOutMessage, WireMessage } from "./fan-out-message.ts";

export class ThreadMessages implements Flushable {
  readonly #rpc: Rpc;
  readonly #event: string;
  readonly #flushLater: (messages: Flushable) => void;
  #messages: WireMessage[] = [];
  #last: FanOutMessage | undefined;

  /** @param flushLater calls `flush` at the end of the turn */
  constructor(rpc: Rpc, event: string, flushLater: (messages: Flushable) => void) {
    this.#rpc = rpc;
    this.#event = event;
    this.#flushLater = flushLater;
  }

  /** Adds a message unless it is the one that was added last: receivers of one message follow each other. */
  add(message: FanOutMessage): void {
    if (message === this.#last) return;
    this.#last = message;
    if (this.#messages.push(message.toWire()) === 1) this.#flushLater(this);
  }

  flush(): void {
    const messages = this.#messages;
    this.#messages = [];
    this.#rpc.emit(this.#event, [messages]);
  }
}
