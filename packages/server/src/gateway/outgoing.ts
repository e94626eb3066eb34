/** Messages on their way to one connected client: version, aliases, what is left of their time, and the bound of its socket. */
import { encodeAcknowledgement, offered, packetTypes, type ServerSession } from "@headrace/mqtt";
import type { FanOutMessage, Held, Variant } from "./fan-out-message.ts";
import type { Delivery, Receiver } from "./receiver.ts";
import type { Shared } from "./shared.ts";
import type { SocketWriter } from "./socket-writer.ts";
import { lowerQos } from "./stored.ts";
import { TopicAliases } from "./topic-aliases.ts";
import type { Traffic } from "./traffic.ts";
import type { Wire } from "./transports/transport.ts";

export class OutgoingMessages {
  readonly #shared: Shared;
  readonly #session: ServerSession<Held>;
  readonly #socket: Wire;
  readonly #writer: SocketWriter;
  readonly #receiver: Receiver;
  readonly #traffic: Traffic;
  #aliases: TopicAliases | undefined;

  constructor(parts: {
    shared: Shared;
    session: ServerSession<Held>;
    socket: Wire;
    writer: SocketWriter;
    receiver: Receiver;
    traffic: Traffic;
  }) {
    this.#shared = parts.shared;
    this.#session = parts.session;
    this.#socket = parts.socket;
    this.#writer = parts.writer;
    this.#receiver = parts.receiver;
    this.#traffic = parts.traffic;
  }

  connected(): void {
    this.#aliases = TopicAliases.for(this.#session.topicAliasMaximum);
  }

  /** Writes or queues a live message; false when it found no room. */
  receive(message: FanOutMessage, delivery: Delivery): boolean {
    const session = this.#session;
    if (session.state !== "connected") return false;
    const variant = message.variant(
      lowerQos(message.qos, delivery.qos),
      message.retain && delivery.retainAsPublished,
      delivery.identifiers,
    );
    const held: Held = delivery.share === undefined ? variant : { variant, share: delivery.share };
    const { outbox } = session;
    const dropped = outbox.droppedCount;
    const { byteLength } = variant.template(session.version === 4 ? 4 : 5).bytes;
    const answer = outbox.offer(held, byteLength, variant.qos);
    this.#shared.fanOut.dropped += outbox.droppedCount - dropped;
    if (answer >= 0) this.#write(variant, answer, false);
    return answer >= offered.queued;
  }

  /** Writes a message that waited or that is durable now; false when it has expired, is too large or forbidden meanwhile. */
  send({ variant }: Held, packetId: number, step: "publish" | "again" | "release"): boolean {
    const { version } = this.#session;
    if (version === 0) return true;
    if (step === "release") {
      this.#writer.write(encodeAcknowledgement({ version, type: packetTypes.pubrel, packetId }));
      return true;
    }
    if (variant !== undefined && this.#isDeliverable(variant, step)) {
      this.#write(variant, packetId, step === "again");
      return true;
    }
    this.#shared.fanOut.dropped += 1;
    return false;
  }

  #isDeliverable(variant: Variant, step: "publish" | "again"): boolean {
    const { message } = variant;
    // What was sent once is completed even when it has expired (§4.3.3).
    if (step === "publish" && this.#remainingSeconds(message) === 0) return false;
    if (!this.#shared.fanOut.mayReceive(this.#receiver, message.topic)) return false;
    const { byteLength } = variant.template(this.#session.version === 4 ? 4 : 5).bytes;
    return byteLength <= this.#session.maximumPacketSize;
  }

  /** What is left of a message's expiry, rounded up; undefined when it has none (§3.3.2.3.3). */
  #remainingSeconds(message: FanOutMessage): number | undefined {
    const { messageExpirySeconds } = message.properties;
    if (messageExpirySeconds === undefined) return undefined;
    return Math.max(0, messageExpirySeconds - Math.floor((this.#shared.nowMs() - message.arrivalMs) / 1_000));
  }

  #write(variant: Variant, packetId: number, duplicate: boolean): void {
    this.#traffic.wentOut(variant.qos);
    const version = this.#session.version === 4 ? 4 : 5;
    const alias = this.#aliases?.of(variant.message.topic) ?? 0;
    const template = alias === 0 ? variant.template(version) : variant.template(version, alias > 0 ? 1 : 2);
    if (duplicate || alias !== 0 || template.expiryOffset >= 0) {
      const expirySeconds = template.expiryOffset < 0 ? undefined : this.#remainingSeconds(variant.message);
      const patch = { duplicate, alias: Math.abs(alias), ...(expirySeconds !== undefined && { expirySeconds }) };
      this.#writer.publish(template, packetId, patch);
    } else this.#writer.publish(template, packetId);
    const { outgoing, limits } = this.#shared;
    const isOver = outgoing.bytes > outgoing.bytesMax;
    const subscriberBytesMax = isOver ? outgoing.floorBytes : limits.subscriberBytesMax;
    if (this.#writer.backlogBytes <= subscriberBytesMax) return;
    this.#writer.flush();
    // Above this the socket will say `drain`, which goes on.
    if (this.#socket.writableLength > subscriberBytesMax) this.#session.outbox.writable = false;
  }
}
