/** Publishes as long as its messages arrive: a window bounds what its subscribers have not got and the server not acknowledged. */
import type { Socket } from "node:net";
import { encodePublishTemplate } from "@headrace/mqtt";
import { type Failures, openConnection, PacketCutter } from "./connection.ts";
import type { TrafficOptions } from "./messages.ts";
import { payloadOf, writeNumber } from "./payload.ts";

const connack = 0x20;
const puback = 0x40;

export const topicOf = (publisher: number): string => `traffic/${publisher}`;

export class Publisher {
  readonly ready: Promise<void>;
  isOn = false;
  sent = 0;
  /** Arrivals of its messages, over all subscribers. */
  arrived = 0;
  /** Arrivals that are not waited for any more. */
  givenUp = 0;
  readonly #socket: Socket;
  readonly #cutter = new PacketCutter();
  readonly #qos: 0 | 1;
  readonly #window: number;
  readonly #copies: number;
  /** Twice the window of packets, used in turn. */
  readonly #ring: Buffer;
  readonly #ringSize: number;
  readonly #packetBytes: number;
  readonly #payloadOffset: number;
  #acknowledged = 0;
  #becameReady: () => void = () => {};

  /** @param copies subscribers of its topic */
  constructor(index: number, options: TrafficOptions, copies: number, failures: Failures) {
    const { port, qos, window, payloadBytes } = options;
    this.#qos = qos;
    this.#window = window;
    this.#copies = copies;
    this.#ringSize = 2 * window;
    const payload = payloadOf(index, payloadBytes);
    const topic = Buffer.from(topicOf(index));
    const packets = Array.from({ length: this.#ringSize }, (_, place) =>
      Buffer.from(encodePublishTemplate({ version: 4, topic, payload, qos, packetId: place + 1 }).bytes),
    );
    this.#ring = Buffer.concat(packets);
    this.#packetBytes = packets[0]!.length;
    this.#payloadOffset = this.#packetBytes - payloadBytes;
    this.ready = new Promise((ready) => {
      this.#becameReady = ready;
    });
    this.#socket = openConnection({ port, clientId: `publisher-${index}`, failures }, (bytes) => {
      this.#cutter.feed(bytes, (_, first) => this.#onPacket(first));
      this.pump();
    });
    this.#socket.once("close", () => this.#becameReady());
  }

  /** Arrivals that are due. */
  get due(): number {
    return this.sent * this.#copies - this.arrived - this.givenUp;
  }

  /** Sends what the window has room for, at least a quarter of it at once. */
  pump(): void {
    if (!this.isOn) return;
    const undelivered = Math.ceil(this.due / this.#copies);
    const unacknowledged = this.#qos === 0 ? 0 : this.sent - this.#acknowledged;
    const room = this.#window - Math.max(undelivered, unacknowledged);
    if (room < Math.max(1, this.#window >> 2)) return;
    const nowUs = Math.floor(performance.now() * 1_000);
    const first = this.sent % this.#ringSize;
    const end = Math.min(first + room, this.#ringSize);
    for (let place = first; place < end; place += 1) {
      const start = place * this.#packetBytes + this.#payloadOffset;
      writeNumber(this.#ring, start, "n", this.sent);
      writeNumber(this.#ring, start, "t", nowUs);
      this.sent += 1;
    }
    this.#socket.write(this.#ring.subarray(first * this.#packetBytes, end * this.#packetBytes));
  }

  #onPacket(first: number): void {
    if (first === puback) this.#acknowledged += 1;
    else if (first === connack) this.#becameReady();
  }
}
