/** The log as a gateway thread sees it: its groups go to the log's thread one at a time, so what arrives meanwhile forms the next. */
import { HeadraceError } from "@headrace/sdk";
import type { GroupSource } from "../log/index.ts";
import { errorFromWire } from "../threads/index.ts";
import type { FanOutMessage } from "./fan-out-message.ts";
import type { GroupLog } from "./ingest.ts";
import type { Place } from "./place.ts";
import type { RetainedLog } from "./retained.ts";
import type { GroupMessage, TookMessage, ToThread } from "./thread-protocol.ts";

/** A group on its way to the log; its blocks are moved. */
export type SendGroup = (
  blocks: readonly Uint8Array<ArrayBuffer>[],
  messages: readonly GroupMessage[],
  took: readonly TookMessage[],
) => void;

export class ThreadLog implements GroupLog, RetainedLog {
  readonly #send: SendGroup;
  #source: GroupSource | undefined;
  /** What goes with the open group: `true` for what others want. */
  #messages = new Map<FanOutMessage, boolean>();
  #took: TookMessage[] = [];
  #repeats = new Set<string>();
  #asked = false;
  #inFlight = false;
  #timer: NodeJS.Timeout | undefined;
  /** Retained messages are kept and compacted by the log's thread. */
  readonly sequence = 0;

  constructor(send: SendGroup) {
    this.#send = send;
  }

  addSource(source: GroupSource): () => void {
    this.#source = source;
    return () => {
      this.#source = undefined;
    };
  }

  /** True when something goes with the open group beside its blocks. */
  get carries(): boolean {
    return this.#messages.size > 0 || this.#took.length > 0;
  }

  /** Takes a retained message for the open group. */
  append(message: FanOutMessage): void {
    if (!this.#messages.has(message)) this.#messages.set(message, false);
    this.requestFlush();
  }
  trim(): void {}

  /** Takes a message that somebody outside of this thread wants. */
  pass(message: FanOutMessage): void {
    this.#messages.set(message, true);
  }

  /** Takes the identifier of a QoS 2 message of a durable session, which is part of the open group. */
  took(number: number, packetId: number): void {
    this.#took.push({ number, packetId });
  }

  /** Whether a message of the group that has just been stored was a repeat. */
  isRepeat({ place }: FanOutMessage): boolean {
    return place !== undefined && this.#repeats.size > 0 && this.#repeats.has(keyOf(place));
  }

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
    const blocks = this.#source?.collect() ?? [];
    if (blocks.length === 0 && !this.carries) return;
    const messages = [...this.#messages].map(
      ([message, isWanted]): GroupMessage => ({ message: message.toWire(), place: message.place, isWanted }),
    );
    const took = this.#took;
    this.#messages = new Map();
    this.#took = [];
    this.#inFlight = true;
    // Copies move to the other thread; the builders' buffers stay here and are used again.
    this.#send(
      blocks.map((block) => new Uint8Array(block)),
      messages,
      took,
    );
  }

  /** The group is durable, or was not stored. */
  stored({ error, repeats }: Extract<ToThread, { readonly kind: "stored" }>): void {
    const failure = error && errorFromWire(error);
    this.#inFlight = false;
    if (failure !== undefined) {
      // What came behind is refused with it.
      this.#messages = new Map();
      this.#took = [];
    }
    this.#repeats = new Set(repeats.map(keyOf));
    this.#source?.settled(
      failure === undefined || failure instanceof HeadraceError
        ? failure
        : new HeadraceError("HR_INTERNAL", failure.message, { cause: failure }),
    );
    this.#repeats.clear();
    if (this.#asked) setImmediate(() => this.#flush());
  }
}

/** Within one thread, whose writer is always the same. */
export const keyOf = ({ logId, sequence }: Place): string => `${logId}/${sequence}`;
