/** For tests: a WebSocket that sends any bytes and shows every frame that it gets. */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

export const frameOpcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A masked frame, as clients send them. */
export const clientFrame = (
  opcode: number,
  payload: Uint8Array,
  { isFinal = true, reserved = 0 }: { readonly isFinal?: boolean; readonly reserved?: number } = {},
): Buffer => {
  const length = payload.byteLength;
  const first = (isFinal ? 0x80 : 0) | reserved | opcode;
  const mask = randomBytes(4);
  const header =
    length > 0xffff
      ? [first, 0xff, 0, 0, 0, 0, length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff]
      : length > 125
        ? [first, 0x80 | 126, length >>> 8, length & 0xff]
        : [first, 0x80 | length];
  const masked = payload.map((byte, index) => byte ^ (mask[index & 3] as number));
  return Buffer.concat([Buffer.from(header), mask, masked]);
};

export interface SeenFrame {
  readonly opcode: number;
  readonly payload: Buffer;
}

const key = "dGhlIHNhbXBsZSBub25jZQ==";

/** The request of a client that does everything right; an undefined header is left out. */
export const upgradeRequest = (
  headers: Record<string, string | undefined> = {},
  line = "GET /mqtt HTTP/1.1",
): string => {
  const all = {
    Host: "127.0.0.1",
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": key,
    "Sec-WebSocket-Protocol": "mqtt",
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== undefined);
  return `${line}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
};

export class RawWebSocket implements AsyncDisposable {
  readonly socket: Socket;
  /** Of the answer to the request, once it is there. */
  head = "";
  readonly frames: SeenFrame[] = [];
  isClosed = false;
  #bytes = Buffer.alloc(0);
  #waiting: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#read();
      this.#wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  /** A connection on which nothing has been sent. */
  static async open(port: number): Promise<RawWebSocket> {
    const socket = connect(port, "127.0.0.1");
    await new Promise((connected) => socket.once("connect", connected));
    return new RawWebSocket(socket);
  }

  static async connect(port: number, headers: Record<string, string | undefined> = {}): Promise<RawWebSocket> {
    const opened = await RawWebSocket.open(port);
    opened.socket.write(upgradeRequest(headers));
    await opened.until(() => opened.head !== "");
    return opened;
  }

  get status(): number {
    return Number(this.head.split(" ")[1]);
  }
  /** The payload of all binary frames. */
  get payload(): Buffer {
    const { binary } = frameOpcodes;
    return Buffer.concat(this.frames.filter(({ opcode }) => opcode === binary).map(({ payload }) => payload));
  }
  /** The code of the close frame; undefined without one. */
  get closeCode(): number | undefined {
    const frame = this.frames.find(({ opcode }) => opcode === frameOpcodes.close);
    return frame && frame.payload.byteLength >= 2 ? frame.payload.readUInt16BE(0) : undefined;
  }

  #read(): void {
    if (this.head === "") {
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.head = this.#bytes.toString("latin1", 0, end);
      this.#bytes = this.#bytes.subarray(end + 4);
    }
    for (;;) {
      if (this.#bytes.byteLength < 2 || this.status !== 101) return;
      const short = this.#bytes.readUInt8(1);
      const start = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (this.#bytes.byteLength < start) return;
      const length =
        short === 127 ? Number(this.#bytes.readBigUInt64BE(2)) : short === 126 ? this.#bytes.readUInt16BE(2) : short;
      if (this.#bytes.byteLength < start + length) return;
      const payload = Buffer.from(this.#bytes.subarray(start, start + length));
      this.frames.push({ opcode: this.#bytes.readUInt8(0) & 0x0f, payload });
      this.#bytes = this.#bytes.subarray(start + length);
    }
  }
  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  send(...frames: Uint8Array[]): void {
    this.socket.write(Buffer.concat(frames));
  }
  /** Waits until it is so. */
  async until(isSo: () => boolean, timeoutMs = 10_000): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!isSo()) {
      if (performance.now() > endMs)
        throw new Error(`it does not come; so far ${this.head} ${this.frames.length} frames`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, endMs - performance.now()));
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
  closed(timeoutMs?: number): Promise<void> {
    return this.until(() => this.isClosed, timeoutMs);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.closed();
  }
}
