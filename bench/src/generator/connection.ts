/** One loaded MQTT 3.1.1 connection: bursts out of its ring, acknowledgements in with as little parsing as possible. */
import { connect, type Socket } from "node:net";
import {
  decodeConnack,
  encodeConnect,
  encodePingreq,
  encodePuback,
  encodePublish,
  encodeSubscribe,
  PacketScanner,
  packetTypes,
  pubackBytes,
} from "@headrace/mqtt";
import type { LatencyHistogram } from "@headrace/simulator";
import type { AcknowledgedIds, GeneratorOptions } from "./messages.ts";
import { deviceOf, firstId, PacketRing, ringSize } from "./packets.ts";

/** What all connections of the process count together. */
export interface Totals {
  sent: number;
  acknowledged: number;
  asked: number;
  commands: number;
  repeatedCommands: number;
  open: number;
  failure: string | undefined;
  readonly ackLatency: LatencyHistogram;
  readonly roundTrip: LatencyHistogram;
}

/** When a message was sent is remembered for so many messages of a connection. */
const rememberedSends = 8_192;
/** Packet identifiers of answers to commands: above those of the ring, below that of SUBSCRIBE. */
const answerIdMin = 1_001;
const answerIdMax = 60_000;
const subscribeId = 65_535;
const accepted = Buffer.from('{"ok":true}');
const version = 4;
const pingreq = encodePingreq();
const idKey = Buffer.from(`"n":`);
// Reads are handled one after the other, each to its end, so all connections read into one buffer.
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

/** What a connection may do next, decided by the pacer. */
export interface Pace {
  /** How many messages are due now; called after each batch of acknowledgements. */
  due(connection: LoadConnection): number;
  /** When a message became due, in ms; undefined: it was sent as soon as it was due. */
  overdueSinceMs(connection: LoadConnection): number | undefined;
}

export class LoadConnection {
  readonly index: number;
  readonly ready: Promise<void>;
  readonly #totals: Totals;
  readonly #pace: Pace;
  readonly #window: number;
  readonly #answer: boolean;
  readonly #ring: PacketRing;
  readonly #socket: Socket;
  readonly #scanner = new PacketScanner({ from: "server", version });
  readonly #startMs = new Float64Array(ringSize);
  readonly #early = new Uint8Array(ringSize);
  readonly #sentMs: Float64Array | undefined;
  /** QoS 0: how many messages stand before each PINGREQ that is not answered. */
  readonly #batches: number[] | undefined;
  #acknowledged = 0;
  #before = 0;
  #becameReady: () => void = () => {};
  #answerId = answerIdMin;
  #opened = false;
  #ended = false;

  constructor(index: number, options: GeneratorOptions, totals: Totals, pace: Pace) {
    this.index = index;
    this.#totals = totals;
    this.#pace = pace;
    this.#window = options.window;
    this.#answer = options.answer;
    const { qos, payloadBytes, askEvery } = options;
    this.#batches = qos === 0 ? [] : undefined;
    this.#ring = new PacketRing({ connection: index, qos, payloadBytes, askEvery });
    this.#sentMs = options.commands ? new Float64Array(rememberedSends) : undefined;
    this.ready = new Promise((ready) => {
      this.#becameReady = ready;
    });
    const clientId = deviceOf(index);
    this.#socket = connect({
      host: "127.0.0.1",
      port: options.port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (byteCount, bytes) => {
          this.#received(bytes.subarray(0, byteCount));
          return true;
        },
      },
    });
    this.#socket.once("connect", () => {
      totals.open += 1;
      this.#opened = true;
      this.#socket.write(encodeConnect({ version, clientId, keepAliveSeconds: 0 }));
    });
    this.#socket.on("error", (error) => {
      totals.failure ??= `${clientId}: ${error.message}`;
    });
    this.#socket.once("close", () => {
      totals.failure ??= `${clientId}: the server closed the connection`;
      if (this.#opened) totals.open -= 1;
      this.#ended = true;
      this.#becameReady();
    });
  }

  /** Messages sent so far. */
  get sent(): number {
    return this.#ring.taken;
  }

  /** Sends up to `count` messages, as many as the window allows; the number sent. */
  send(count: number, nowMs: number, startedMs = nowMs): number {
    const ring = this.#ring;
    const from = ring.taken;
    // Not beyond the ring: a place whose PUBACK is missing is not free, even if later ones are answered.
    const room = Math.min(this.#window - (from - this.#acknowledged), this.#before + ringSize - from);
    const taken = Math.min(count, room);
    if (taken <= 0 || this.#ended) return 0;
    const totals = this.#totals;
    for (let done = 0; done < taken; done += 1) {
      const place = ring.take();
      this.#startMs[place] = startedMs;
      totals.asked += ring.asks[place]!;
      if (this.#sentMs !== undefined) this.#sentMs[(from + done) % rememberedSends] = nowMs;
    }
    totals.sent += taken;
    const { packetBytes, bytes } = ring;
    const first = from % ringSize;
    const end = first + taken;
    if (end <= ringSize && this.#batches === undefined) {
      this.#socket.write(bytes.subarray(first * packetBytes, end * packetBytes));
      return taken;
    }
    this.#socket.cork();
    this.#socket.write(bytes.subarray(first * packetBytes, Math.min(end, ringSize) * packetBytes));
    if (end > ringSize) this.#socket.write(bytes.subarray(0, (end - ringSize) * packetBytes));
    if (this.#batches !== undefined) {
      this.#batches.push(taken);
      this.#socket.write(pingreq);
    }
    this.#socket.uncork();
    return taken;
  }

  #subscribe(): void {
    const filters = [{ filter: `devices/${deviceOf(this.index)}/commands/+`, qos: 1 as const }];
    this.#socket.write(encodeSubscribe({ version, packetId: subscribeId, filters }));
  }

  get acknowledgedIds(): AcknowledgedIds {
    const others: number[] = [];
    for (let number = this.#before; number < this.sent; number += 1) {
      if (this.#early[number % ringSize] === 1) others.push(number);
    }
    return { before: this.#before, others };
  }

  #received(bytes: Uint8Array): void {
    const nowMs = performance.now();
    let at = 0;
    if (this.#scanner.carriedBytes === 0) {
      while (at + 4 <= bytes.length && bytes[at] === 0x40 && bytes[at + 1] === 2) {
        this.#onPuback((bytes[at + 2]! << 8) | bytes[at + 3]!, nowMs);
        at += 4;
      }
    }
    if (at < bytes.length) this.#scan(bytes.subarray(at), nowMs);
    const due = this.#pace.due(this);
    if (due > 0) this.send(due, nowMs, this.#pace.overdueSinceMs(this) ?? nowMs);
  }

  #scan(bytes: Uint8Array, nowMs: number): void {
    const scanner = this.#scanner;
    scanner.feed(bytes);
    for (let type = scanner.next(); type !== 0; type = scanner.next()) {
      const { buffer, start, end } = scanner;
      if (type === packetTypes.puback) this.#onPuback((buffer[start]! << 8) | buffer[start + 1]!, nowMs);
      else if (type === packetTypes.pingresp) this.#onPingresp(nowMs);
      else if (type === packetTypes.publish) this.#onCommand(nowMs);
      else if (type === packetTypes.suback) this.#becameReady();
      else if (type === packetTypes.connack) {
        const { reasonCode } = decodeConnack(version, buffer, start, end);
        if (reasonCode !== 0) this.#totals.failure ??= `CONNACK with code ${reasonCode}`;
        if (this.#sentMs === undefined) this.#becameReady();
        else this.#subscribe();
      }
    }
  }

  #onPingresp(nowMs: number): void {
    const count = this.#batches?.shift() ?? 0;
    for (let done = 0; done < count; done += 1) this.#onPuback((this.#before % ringSize) + 1, nowMs);
  }

  #onPuback(packetId: number, nowMs: number): void {
    const place = packetId - 1;
    if (place >= ringSize) return;
    const totals = this.#totals;
    totals.ackLatency.record(nowMs - this.#startMs[place]!);
    totals.acknowledged += 1;
    this.#acknowledged += 1;
    if (place !== this.#before % ringSize) {
      this.#early[place] = 1;
      return;
    }
    this.#before += 1;
    while (this.#early[this.#before % ringSize] === 1) {
      this.#early[this.#before % ringSize] = 0;
      this.#before += 1;
    }
  }

  #onCommand(nowMs: number): void {
    const { buffer, payloadStart, payloadEnd, qos, packetId } = this.#scanner.publish;
    const payload = buffer.subarray(payloadStart, payloadEnd);
    const at = payload.indexOf(idKey);
    const totals = this.#totals;
    if (at >= 0 && this.#sentMs !== undefined) {
      const digits = at + idKey.length;
      const number = Number.parseInt(payload.toString("latin1", digits, digits + 10), 10) - firstId;
      const sentMs = this.#sentMs[number % rememberedSends]!;
      if (sentMs === 0) totals.repeatedCommands += 1;
      else {
        totals.roundTrip.record(nowMs - sentMs);
        totals.commands += 1;
        this.#sentMs[number % rememberedSends] = 0;
      }
    }
    if (qos === 0) return;
    const puback = Buffer.allocUnsafe(pubackBytes);
    encodePuback(puback, 0, packetId);
    if (!this.#answer) {
      this.#socket.write(puback);
      return;
    }
    this.#socket.write(Buffer.concat([puback, this.#acceptance(payload)]));
  }

  #acceptance(command: Buffer): Uint8Array {
    const { id } = JSON.parse(command.toString()) as { id: string };
    this.#answerId = this.#answerId === answerIdMax ? answerIdMin : this.#answerId + 1;
    const topic = Buffer.from(`devices/${deviceOf(this.index)}/commands/${id}/ack`);
    return encodePublish({ version, topic, payload: accepted, qos: 1, packetId: this.#answerId });
  }
}
