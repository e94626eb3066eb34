/** Takes messages, reads their numbers, and acknowledges them at QoS 1. */
import type { Socket } from "node:net";
import { encodePuback, encodeSubscribe, pubackBytes } from "@headrace/mqtt";
import type { LatencyHistogram } from "@headrace/simulator";
import { type Failures, openConnection, PacketCutter } from "./connection.ts";
import type { TrafficOptions } from "./messages.ts";
import { readNumber } from "./payload.ts";
import type { Publisher } from "./publisher.ts";

const connack = 0x20;
const suback = 0x90;
const publish = 0x30;

/** What all subscribers count together. */
export interface Arrivals extends Failures {
  arrived: number;
  /** Numbers that came again. */
  repeated: number;
  readonly latency: LatencyHistogram;
}

export class Subscriber {
  readonly ready: Promise<void>;
  readonly #socket: Socket;
  readonly #cutter = new PacketCutter();
  readonly #arrivals: Arrivals;
  readonly #publishers: readonly Publisher[];
  /** The number that is due from each publisher: messages of one topic come in order. */
  readonly #next: Int32Array;
  /** Publishers of the messages of the chunk at hand; one may stand there twice. */
  readonly #touched: Publisher[] = [];
  #nowMs = 0;
  #acks = Buffer.alloc(0);
  #acked = 0;
  #becameReady: () => void = () => {};

  /** @param publishers all of them: a message says whose it is */
  constructor(
    index: number,
    { port, qos }: TrafficOptions,
    filter: string,
    publishers: readonly Publisher[],
    arrivals: Arrivals,
  ) {
    this.#arrivals = arrivals;
    this.#publishers = publishers;
    this.#next = new Int32Array(publishers.length);
    this.ready = new Promise((ready) => {
      this.#becameReady = ready;
    });
    const clientId = `subscriber-${index}`;
    this.#socket = openConnection({ port, clientId, failures: arrivals }, (bytes) => {
      this.#nowMs = performance.now();
      this.#cutter.feed(bytes, (packet, first, start, end) => {
        if ((first & 0xf0) === publish) this.#onPublish(packet, first, start, end);
        else if (first === connack) {
          this.#socket.write(encodeSubscribe({ version: 4, packetId: 1, filters: [{ filter, qos }] }));
        } else if (first === suback) {
          if (packet[start + 2] !== qos) arrivals.failure ??= `${clientId}: SUBACK with code ${packet[start + 2]}`;
          this.#becameReady();
        }
      });
      if (this.#acked > 0) this.#acknowledge();
      for (const publisher of this.#touched) publisher.pump();
      this.#touched.length = 0;
    });
    this.#socket.once("close", () => this.#becameReady());
  }

  #onPublish(bytes: Uint8Array, first: number, start: number, end: number): void {
    let payload = start + 2 + ((bytes[start]! << 8) | bytes[start + 1]!);
    if ((first & 6) !== 0) {
      const packetId = (bytes[payload]! << 8) | bytes[payload + 1]!;
      payload += 2;
      if (this.#acked + pubackBytes > this.#acks.length) this.#growAcks();
      this.#acked = encodePuback(this.#acks, this.#acked, packetId);
    }
    if (end - payload < 44) return;
    const from = readNumber(bytes, payload, "c");
    const number = readNumber(bytes, payload, "n");
    const arrivals = this.#arrivals;
    const due = this.#next[from]!;
    if (number < due) {
      arrivals.repeated += 1;
      return;
    }
    this.#next[from] = number + 1;
    arrivals.arrived += 1;
    arrivals.latency.record(this.#nowMs - readNumber(bytes, payload, "t") / 1_000);
    const publisher = this.#publishers[from]!;
    publisher.arrived += 1;
    if (this.#touched.at(-1) !== publisher) this.#touched.push(publisher);
  }

  #growAcks(): void {
    const grown = Buffer.allocUnsafe(Math.max(256, this.#acks.length * 2));
    this.#acks.copy(grown, 0, 0, this.#acked);
    this.#acks = grown;
  }

  #acknowledge(): void {
    this.#socket.write(this.#acks.subarray(0, this.#acked));
    // The socket may still hold these bytes.
    if (this.#socket.writableLength > 0) this.#acks = Buffer.alloc(0);
    this.#acked = 0;
  }
}
