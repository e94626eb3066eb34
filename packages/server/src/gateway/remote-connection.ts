/** A connection of a gateway thread, in the thread of the log: its durable session and the shared subscriptions speak to it as to their own. */
import { offered, type Will } from "@headrace/mqtt";
import type { DurableSession } from "./durable-session.ts";
import type { FanOutMessage, Held } from "./fan-out-message.ts";
import type { Lane } from "./lane.ts";
import type { Delivery } from "./receiver.ts";
import type { SessionConnection } from "./session-connection.ts";
import { lowerQos, publishBytes } from "./stored.ts";
import type { OpenRequest, ToThread } from "./thread-protocol.ts";

export class RemoteConnection implements SessionConnection {
  readonly isElsewhere = true;
  readonly number: number;
  readonly clientId: string;
  readonly identity: string | undefined;
  /** Published when its thread dies. */
  readonly will: Will | undefined;
  /** Its session, if that outlives it. */
  durable: DurableSession | undefined;
  readonly #lane: Lane<ToThread>;

  constructor(lane: Lane<ToThread>, number: number, { clientId, identity, will }: OpenRequest) {
    this.#lane = lane;
    this.number = number;
    this.clientId = clientId;
    this.identity = identity;
    this.will = will;
  }

  get deviceId(): string {
    return this.identity ?? this.clientId;
  }

  receive(message: FanOutMessage, delivery: Delivery): boolean {
    return this.durable === undefined ? this.#deliver(message, delivery) : this.#offer(this.durable, message, delivery);
  }

  #deliver(message: FanOutMessage, { qos, retainAsPublished, identifiers, filters, share }: Delivery): boolean {
    return this.#lane.sendLive(
      {
        kind: "deliver",
        number: this.number,
        message: message.toWire(),
        delivery: { qos, retainAsPublished, identifiers, share: share && filters[0] },
      },
      message.payload.byteLength,
    );
  }

  /** Packet identifiers of a durable session are given out where its records are written. */
  #offer({ state }: DurableSession, message: FanOutMessage, delivery: Delivery): boolean {
    const { identifiers, share, retainAsPublished } = delivery;
    const qos = lowerQos(message.qos, delivery.qos);
    const variant = message.variant(qos, message.retain && retainAsPublished, identifiers);
    const answer = state.outbox.offer(
      share === undefined ? variant : { variant, share },
      publishBytes({ variant }),
      qos,
    );
    if (answer >= 0) this.send(variant, answer, "publish");
    return answer >= offered.queued;
  }

  send({ variant }: Pick<Held, "variant">, packetId: number, step: "publish" | "again" | "release"): void {
    if (variant === undefined && step !== "release") {
      this.durable?.discard(packetId);
      return;
    }
    const item: ToThread = {
      kind: "send",
      number: this.number,
      packetId,
      step,
      message: step === "release" ? undefined : variant?.message.toWire(),
      qos: variant?.qos ?? 1,
      retain: variant?.retain ?? false,
      identifiers: variant?.identifiers ?? [],
    };
    // What has an identifier is bounded by the client's window; QoS 0 is dropped when the thread does not keep up.
    if (packetId === 0) this.#lane.sendLive(item, variant?.message.payload.byteLength ?? 0);
    else this.#lane.send(item, variant?.message.payload.byteLength);
  }

  write(bytes: Uint8Array): void {
    this.#lane.send({ kind: "write", number: this.number, bytes }, bytes.byteLength);
  }

  end(reasonCode: number, reason: string): void {
    this.#lane.send({ kind: "end", number: this.number, reasonCode, reason });
  }
}
