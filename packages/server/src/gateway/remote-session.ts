/** A durable session as the gateway thread of its connection sees it: the session is in the thread of the log, and its steps go there. */
import type { SessionChange, SessionState } from "@headrace/mqtt";
import type { DeskConnection, KeptSession } from "./desk.ts";
import { FanOutMessage, type Held } from "./fan-out-message.ts";
import type { Lane } from "./lane.ts";
import { publishBytes } from "./stored.ts";
import type { ToLog, ToThread } from "./thread-protocol.ts";

type SendItem = Extract<ToThread, { readonly kind: "send" }>;

export class RemoteSession implements KeptSession {
  /** A copy: subscriptions, identifiers of the client's messages, and those in flight to it; nothing waits in it. */
  readonly state: SessionState<Held>;
  readonly number: number;
  readonly expirySeconds: number;
  readonly #connection: DeskConnection;
  readonly #lane: Lane<ToLog>;
  readonly #took: (number: number, packetId: number) => void;
  #isWritable = true;

  constructor(parts: {
    readonly number: number;
    readonly expirySeconds: number;
    readonly state: SessionState<Held>;
    readonly connection: DeskConnection;
    readonly lane: Lane<ToLog>;
    /** Adds the identifier to the open group. */
    readonly took: (number: number, packetId: number) => void;
  }) {
    this.number = parts.number;
    this.expirySeconds = parts.expirySeconds;
    this.state = parts.state;
    this.#connection = parts.connection;
    this.#lane = parts.lane;
    this.#took = parts.took;
  }

  changed(change: SessionChange): void {
    this.#lane.send({ kind: "changed", number: this.number, change });
  }

  took(packetId: number): void {
    this.#took(this.number, packetId);
  }

  /** The socket takes more. */
  pump(): void {
    if (this.#isWritable || !this.state.outbox.writable) return;
    this.#isWritable = true;
    this.#lane.send({ kind: "writable", number: this.number, isWritable: true });
  }

  discard(packetId: number): void {
    this.state.outbox.release(packetId);
    this.#lane.send({ kind: "discard", number: this.number, packetId });
  }

  /** Writes a message to the client; false for a QoS 0 message that its socket has no room for. */
  send({ packetId, step, message: wire, qos, retain, identifiers }: SendItem): boolean {
    const { outbox } = this.state;
    if (packetId === 0 && !outbox.writable) return false;
    const variant = wire && FanOutMessage.fromWire(wire).variant(qos, retain, identifiers);
    if (step === "publish" && variant !== undefined && variant.qos !== 0) {
      outbox.restore(variant, publishBytes({ variant }), variant.qos, packetId);
    }
    this.#connection.send({ variant, share: undefined }, packetId, step);
    if (!outbox.writable && this.#isWritable) {
      this.#isWritable = false;
      this.#lane.send({ kind: "writable", number: this.number, isWritable: false });
    }
    return true;
  }
}
