/**
 * The messages of one connection as a ring of finished PUBLISH packets, so that sending costs one write per burst:
 * a packet keeps its packet identifier, and only the digits that change are written over the old ones. That is safe
 * because a place in the ring is used again only after its PUBACK, when its bytes are long sent.
 *
 * The payloads are JSON of one length in {@link shapes} kinds, which differ in keys and their order, mixed on every
 * connection, and with values that vary: what a decoder learns from one message must not fit all. Each carries the number of its
 * connection, `c`, and its own, `n`: {@link firstId} for the first message of a connection, then one more each.
 */
import { encodePublishTemplate } from "@headrace/mqtt";
import { type Random, seededRandom } from "@headrace/simulator";

/** Packets in the ring, and the largest window. A power of ten: going round changes only the digits before the last two. */
export const ringSize = 100;
/** The first digit is there because JSON has no leading zeros. */
export const firstId = 1_000_000_000;
/** The id's digits that count the rounds. */
const roundDigits = 7;
const zero = 48;

export const deviceOf = (connection: number): string => `dev-${String(connection).padStart(4, "0")}`;
export const topicOf = (connection: number): string => `bench/${deviceOf(connection)}/data`;

export interface PacketOptions {
  readonly connection: number;
  readonly qos: 0 | 1;
  readonly payloadBytes: number;
  readonly askEvery: number;
}

export class PacketRing {
  readonly packetBytes: number;
  readonly bytes: Buffer;
  /** Per place: where the digits of the round end, and where two digits of a value are. */
  readonly #roundEnds = new Int32Array(ringSize);
  readonly #values = new Int32Array(ringSize);
  /** 1 where the message asks for a command. */
  readonly asks = new Uint8Array(ringSize);
  #sent = 0;

  constructor({ connection, qos, payloadBytes, askEvery }: PacketOptions) {
    const random = seededRandom(`bench-${connection}`);
    const packets = Array.from({ length: ringSize }, (_, place) => {
      const ask = askEvery > 0 && (connection + place) % askEvery === 0;
      this.asks[place] = ask ? 1 : 0;
      const payload = Buffer.from(payloadText(connection, place, ask, payloadBytes, random));
      const topic = Buffer.from(topicOf(connection));
      const { bytes } = encodePublishTemplate({ version: 4, topic, payload, qos, packetId: place + 1 });
      return Buffer.from(bytes);
    });
    this.packetBytes = packets[0]!.length;
    this.bytes = Buffer.concat(packets);
    packets.forEach((packet, place) => {
      const start = place * this.packetBytes;
      this.#roundEnds[place] = start + packet.indexOf('"n":1') + 5 + roundDigits;
      this.#values[place] = start + packet.indexOf('"temperature":') + 18;
    });
  }

  /** Messages taken so far: the number of the next one, from 0. */
  get taken(): number {
    return this.#sent;
  }

  /** Prepares the next message and returns its place; the caller sends `packetBytes` from `place * packetBytes`. */
  take(): number {
    const place = this.#sent % ringSize;
    if (this.#sent >= ringSize) this.#nextRound(place);
    this.#sent += 1;
    return place;
  }

  #nextRound(place: number): void {
    const { bytes } = this;
    let at = this.#roundEnds[place]! - 1;
    while (bytes[at] === zero + 9) bytes[at--] = zero;
    bytes[at]! += 1;
    const value = this.#values[place]!;
    const mixed = (Math.floor(this.#sent / ringSize) * 37 + place) % 100;
    bytes[value] = zero + Math.floor(mixed / 10);
    bytes[value + 1] = zero + (mixed % 10);
  }
}

/** Kinds of messages: which optional fields they have, and in which order all stand. */
const shapes = Array.from({ length: 8 }, (_, shape) => {
  const random = seededRandom(`shape-${shape}`);
  const optional = shuffled(["rpm", "pressure", "mode", "ok", "load"], random).slice(0, shape % 3);
  return shuffled(["c", "n", "temperature", "vibration", "note", ...optional], random);
});

function payloadText(connection: number, place: number, ask: boolean, payloadBytes: number, random: Random): string {
  const whole = (below: number): number => Math.floor(random() * below);
  const values: Record<string, string> = {
    c: String(connection),
    n: String(firstId + place),
    temperature: `${10 + whole(90)}.${String(whole(10_000)).padStart(4, "0")}`,
    vibration: (random() * 2).toFixed(3),
    rpm: String(1000 + whole(3000)),
    pressure: (random() * 10).toFixed(2),
    mode: ['"auto"', '"manual"', '"off"'][whole(3)]!,
    ok: String(random() < 0.9),
    load: String(whole(100)),
    ask: "true",
  };
  const names = [...shapes[(connection + place) % shapes.length]!, ...(ask ? ["ask"] : [])];
  const textWith = (note: string): string =>
    `{${names.map((name) => `"${name}":${name === "note" ? `"${note}"` : values[name]}`).join(",")}}`;
  const room = payloadBytes - textWith("").length;
  if (room < 0) throw new RangeError(`${payloadBytes} bytes are too few for a payload`);
  return textWith("x".repeat(room));
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
