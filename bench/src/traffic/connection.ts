/** A connection of the traffic process, as far as publishers and subscribers have it in common. */
import { connect, type Socket } from "node:net";
import { encodeConnect } from "@headrace/mqtt";

const version = 4;
// Reads are handled one after the other, each to its end, so all connections read into one buffer.
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

const nothing = new Uint8Array(0);

export interface Failures {
  failure: string | undefined;
}

/** Connects and says CONNECT; `received` gets what arrives, valid until it returns. */
export function openConnection(
  { port, clientId, failures }: { port: number; clientId: string; failures: Failures },
  received: (bytes: Uint8Array) => void,
): Socket {
  const socket = connect({
    host: "127.0.0.1",
    port,
    noDelay: true,
    onread: {
      buffer: readBuffer,
      callback: (byteCount, bytes) => {
        received(bytes.subarray(0, byteCount));
        return true;
      },
    },
  });
  socket.once("connect", () => socket.write(encodeConnect({ version, clientId, keepAliveSeconds: 0 })));
  socket.on("error", (error) => {
    failures.failure ??= `${clientId}: ${error.message}`;
  });
  socket.once("close", () => {
    failures.failure ??= `${clientId}: the server closed the connection`;
  });
  return socket;
}

/** Cuts what arrives into packets; a packet in pieces waits for its rest. */
export class PacketCutter {
  #rest: Uint8Array = nothing;

  /** Calls `packet` with each whole packet's first byte, the start of its body, and its end. */
  feed(chunk: Uint8Array, packet: (bytes: Uint8Array, first: number, start: number, end: number) => void): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + 2 <= bytes.length) {
      let start = at + 1;
      let length = 0;
      let shift = 0;
      while (start < bytes.length) {
        const byte = bytes[start]!;
        start += 1;
        length |= (byte & 0x7f) << shift;
        shift += 7;
        if (byte < 128) {
          shift = 0;
          break;
        }
      }
      if (shift !== 0 || start + length > bytes.length) break;
      packet(bytes, bytes[at]!, start, start + length);
      at = start + length;
    }
    // A copy, which Buffer's own `slice` is not: the buffer belongs to the next read.
    this.#rest = at === bytes.length ? nothing : Uint8Array.prototype.slice.call(bytes, at);
  }
}
