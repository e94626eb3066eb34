/**
 * PUBLISH packets of one topic at QoS 1, MQTT 5.0 §3.3, written in one pass into one buffer: a generator that shares
 * its machine with the server must not cost more than the server. The codec's general encoder takes five times as
 * long, nearly all of it for user properties; the test compares the two byte by byte.
 *
 * Layout: `0x32`, remaining length, topic, packet identifier, property length, `hr-epoch`, `hr-seq`, payload.
 */
const publishQos1 = 0x32;
const userProperty = 0x26;

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
}

const digits = (value: number): number => {
  let count = 1;
  for (let bound = 10; value >= bound; bound *= 10) count += 1;
  return count;
};

/** Encodes the messages of one topic; with an epoch they can carry `hr-epoch` and `hr-seq`. */
export class PublishEncoder {
  readonly #topic: Buffer;
  /** Both properties up to the length of the sequence. */
  readonly #properties: Buffer | undefined;

  constructor(topic: string, epoch: number | undefined) {
    this.#topic = string(topic);
    if (epoch === undefined) return;
    this.#properties = Buffer.concat([
      Buffer.of(userProperty),
      string("hr-epoch"),
      string(String(epoch)),
      Buffer.of(userProperty),
      string("hr-seq"),
    ]);
    // One byte has to hold the length of the properties, with a sequence of 16 digits.
    if (this.#properties.length + 18 > 127) throw new RangeError(`epoch ${epoch} is too long`);
  }

  /** Encodes one message; `sequence` 0 leaves the properties out. */
  encode(packetId: number, sequence: number, payload: string): Buffer {
    const topic = this.#topic;
    const properties = sequence === 0 ? undefined : this.#properties;
    const digitCount = digits(sequence);
    const propertyBytes = properties === undefined ? 0 : properties.length + 2 + digitCount;
    const payloadBytes = Buffer.byteLength(payload);
    const remaining = topic.length + 3 + propertyBytes + payloadBytes;
    const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4;
    const out = Buffer.allocUnsafe(1 + lengthBytes + remaining);
    out[0] = publishQos1;
    let at = 1;
    for (let rest = remaining; at <= lengthBytes; rest >>>= 7) {
      out[at] = (rest & 0x7f) | (at < lengthBytes ? 0x80 : 0);
      at += 1;
    }
    out.set(topic, at);
    at += topic.length;
    out[at++] = packetId >> 8;
    out[at++] = packetId & 0xff;
    out[at++] = propertyBytes;
    if (properties !== undefined) {
      out.set(properties, at);
      at += properties.length;
      out[at++] = 0;
      out[at++] = digitCount;
      let rest = sequence;
      for (let place = at + digitCount - 1; place >= at; place -= 1) {
        const tenth = Math.floor(rest / 10);
        out[place] = rest - tenth * 10 + 48;
        rest = tenth;
      }
      at += digitCount;
    }
    out.write(payload, at);
    return out;
  }
}
