/** MQTT over an upgraded connection: binary frames in and out, pings answered, the closing handshake. */
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import type { Wire } from "./transport.ts";
import { closeCodes, encodeClose, encodeFrame, FrameReader, opcodes } from "./websocket-frames.ts";

/** A client that sends pings and reads no pongs gets none beyond this. */
const pongBacklogBytesMax = 16 * 1024;
/** How long a client may take to read the close frame. */
const closeDeadlineMs = 2_000;

interface Events {
  data: [chunk: Buffer];
  drain: [];
  close: [];
  error: [error: Error];
}

export class WebSocketWire extends EventEmitter<Events> implements Wire {
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  #isCloseSent = false;
  #isOver = false;

  /** @param head what came behind the request; it is emitted when a listener is there */
  constructor(socket: Socket, head: Buffer) {
    super();
    this.#socket = socket;
    if (head.byteLength > 0) socket.unshift(head);
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("drain", () => this.emit("drain"));
    socket.on("error", (error: Error) => this.emit("error", error));
    socket.on("close", () => this.emit("close"));
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }
  get writableLength(): number {
    return this.#socket.writableLength;
  }
  get bytesRead(): number {
    return this.#socket.bytesRead;
  }
  get bytesWritten(): number {
    return this.#socket.bytesWritten;
  }

  /** Writes one frame, which is a copy. */
  write(bytes: Uint8Array): boolean {
    if (this.#isCloseSent) return true;
    return this.#socket.write(encodeFrame(opcodes.binary, bytes));
  }

  /** Says close; the socket ends when the client has said it too. */
  end(): void {
    this.#sayClose(closeCodes.normal);
  }
  destroy(): void {
    this.#socket.destroy();
  }
  pause(): void {
    this.#socket.pause();
  }
  resume(): void {
    this.#socket.resume();
  }

  #received(chunk: Buffer): void {
    if (this.#isOver) return;
    const length = this.#reader.read(chunk);
    const { ping, end } = this.#reader;
    if (ping !== undefined) this.#pong(ping);
    if (length > 0) this.emit("data", chunk.subarray(0, length));
    if (end === undefined) return;
    this.#isOver = true;
    this.#sayClose(end.code);
    this.#socket.destroySoon();
    setTimeout(() => this.#socket.destroy(), closeDeadlineMs).unref();
  }

  #sayClose(code: number | undefined): void {
    if (this.#isCloseSent || this.#socket.destroyed) return;
    this.#isCloseSent = true;
    this.#socket.write(encodeClose(code));
  }

  #pong(payload: Uint8Array): void {
    this.#reader.ping = undefined;
    if (this.#isCloseSent || this.#socket.writableLength > pongBacklogBytesMax) return;
    this.#socket.write(encodeFrame(opcodes.pong, payload));
  }
}
