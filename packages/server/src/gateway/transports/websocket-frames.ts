/**
 * WebSocket frames (RFC 6455 §5), the server's side, without extensions. A frame is
 *
 *     FIN RSV1-3 opcode(4) | MASK length(7) | length(16 or 64)? | masking key(32) | payload
 *
 * Payload passes through as it comes, also in the middle of a frame: nothing is gathered, so a length that is announced costs
 * nothing, whatever it is.
 */

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export const closeCodes = { normal: 1000, protocolError: 1002, unsupportedData: 1003 } as const;

const controlBytesMax = 125;
const finBit = 0x80;
const reservedBits = 0x70;
const maskBit = 0x80;

/** Why no more is read: the client said close, or broke the protocol. */
export interface FramesEnd {
  /** The code to answer with; undefined when the client gave none. */
  readonly code: number | undefined;
  readonly reason: string;
}

export class FrameReader {
  readonly #header = new Uint8Array(14);
  #headerBytes = 0;
  #headerNeeded = 2;
  readonly #mask = new Uint8Array(4);
  #maskAt = 0;
  #remaining = 0;
  #opcode: number = opcodes.continuation;
  #isFinal = true;
  #isInMessage = false;
  readonly #control = new Uint8Array(controlBytesMax);
  #controlBytes = 0;
  end: FramesEnd | undefined;
  /** Payload of the newest ping that is not answered: a client that sends many at once gets one pong (RFC 6455 §5.5.3). */
  ping: Uint8Array | undefined;

  /** Takes bytes in which frames begin and end anywhere. The payload of data frames is moved to the front of `chunk`; the answer is its length. */
  read(chunk: Uint8Array): number {
    let at = 0;
    let length = 0;
    while (at < chunk.byteLength && this.end === undefined) {
      if (this.#headerBytes < this.#headerNeeded) {
        this.#header[this.#headerBytes++] = chunk[at++] ?? 0;
        if (this.#headerBytes === 2) this.#begin();
        else if (this.#headerBytes === this.#headerNeeded) this.#measure();
        continue;
      }
      const count = Math.min(this.#remaining, chunk.byteLength - at);
      if (this.#opcode >= opcodes.close) {
        this.#unmask(chunk, at, count, this.#control, this.#controlBytes);
        this.#controlBytes += count;
      } else {
        this.#unmask(chunk, at, count, chunk, length);
        length += count;
      }
      at += count;
      this.#remaining -= count;
      if (this.#remaining === 0) this.#finish();
    }
    return length;
  }

  /** The first two bytes say what the frame is and how long its header. */
  #begin(): void {
    const [first = 0, second = 0] = this.#header;
    this.#opcode = first & 0x0f;
    this.#isFinal = (first & finBit) !== 0;
    const length = second & 0x7f;
    const isControl = this.#opcode >= opcodes.close;
    if ((first & reservedBits) !== 0)
      this.#fail(closeCodes.protocolError, "a reserved bit is set: no extension was agreed on");
    else if ((second & maskBit) === 0) this.#fail(closeCodes.protocolError, "a client's frame is masked");
    else if (isControl && (!this.#isFinal || length > controlBytesMax))
      this.#fail(closeCodes.protocolError, "a control frame is one frame of at most 125 bytes");
    else if (this.#opcode > opcodes.pong || (this.#opcode > opcodes.binary && !isControl))
      this.#fail(closeCodes.protocolError, `there is no opcode ${this.#opcode}`);
    else if (this.#opcode === opcodes.text) this.#fail(closeCodes.unsupportedData, "MQTT travels in binary frames");
    else if (!isControl && (this.#opcode === opcodes.continuation) !== this.#isInMessage)
      this.#fail(closeCodes.protocolError, "a message is continued that has not begun, or begun while one is open");
    this.#headerNeeded = 2 + (length === 127 ? 8 : length === 126 ? 2 : 0) + 4;
  }

  /** The header is complete. */
  #measure(): void {
    const view = new DataView(this.#header.buffer);
    const length = (this.#header[1] ?? 0) & 0x7f;
    if (length === 126) this.#remaining = view.getUint16(2);
    else if (length === 127) {
      const long = view.getBigUint64(2);
      if (long > BigInt(Number.MAX_SAFE_INTEGER)) {
        this.#fail(closeCodes.protocolError, "a frame's length has its highest bit set");
        return;
      }
      this.#remaining = Number(long);
    } else this.#remaining = length;
    this.#mask.set(this.#header.subarray(this.#headerNeeded - 4, this.#headerNeeded));
    this.#maskAt = 0;
    this.#controlBytes = 0;
    if (this.#remaining === 0) this.#finish();
  }

  #finish(): void {
    this.#headerBytes = 0;
    this.#headerNeeded = 2;
    const payload = this.#control.subarray(0, this.#controlBytes);
    if (this.#opcode === opcodes.ping) this.ping = payload.slice();
    else if (this.#opcode === opcodes.close) this.#onClose(payload);
    else if (this.#opcode !== opcodes.pong) this.#isInMessage = !this.#isFinal;
  }

  #onClose(payload: Uint8Array): void {
    const [high = 0, low = 0] = payload;
    const code = (high << 8) | low;
    if (payload.byteLength === 0) this.#fail(undefined, "the client closed");
    else if (payload.byteLength === 1 || !isCloseCode(code)) this.#fail(closeCodes.protocolError, "not a close code");
    else this.#fail(code, "the client closed");
  }

  #fail(code: number | undefined, reason: string): void {
    this.end = { code, reason };
  }

  /** `to` may be `from`, at the same place or before it. */
  #unmask(from: Uint8Array, at: number, count: number, to: Uint8Array, toAt: number): void {
    const mask = this.#mask;
    const first = this.#maskAt;
    for (let index = 0; index < count; index++) {
      to[toAt + index] = (from[at + index] as number) ^ (mask[(first + index) & 3] as number);
    }
    this.#maskAt = (first + count) & 3;
  }
}

/** RFC 6455 §7.4: what may stand in a close frame. */
const isCloseCode = (code: number): boolean =>
  (code >= 3000 && code <= 4999) || (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006));

/** One frame of the server: whole, not masked. */
export const encodeFrame = (opcode: number, payload: Uint8Array): Buffer => {
  const length = payload.byteLength;
  const extra = length > 0xffff ? 8 : length > controlBytesMax ? 2 : 0;
  const frame = Buffer.allocUnsafe(2 + extra + length);
  frame[0] = finBit | opcode;
  frame[1] = extra === 8 ? 127 : extra === 2 ? 126 : length;
  if (extra === 2) frame.writeUInt16BE(length, 2);
  else if (extra === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  frame.set(payload, 2 + extra);
  return frame;
};

/** A close frame; without a code it has no payload. */
export const encodeClose = (code: number | undefined): Buffer =>
  encodeFrame(opcodes.close, code === undefined ? new Uint8Array(0) : Uint8Array.of(code >> 8, code & 0xff));
