/** A server that acknowledges every PUBLISH and does nothing else: what the generator can do when nothing holds it up. */
import { createServer, type Socket } from "node:net";
import { encodePuback } from "@headrace/mqtt";

const connect = 0x10;
const connack = Buffer.of(0x20, 2, 0, 0);

function serve(socket: Socket): void {
  socket.setNoDelay(true);
  let rest: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const acks = Buffer.allocUnsafe((bytes.length >> 4) * 4 + 4);
    let acked = 0;
    let at = 0;
    while (at + 2 <= bytes.length) {
      let length = bytes[at + 1]!;
      let body = at + 2;
      if (length >= 128) length = (length & 0x7f) | (bytes[body++]! << 7);
      if (body + length > bytes.length) break;
      if (bytes[at] === connect) socket.write(connack);
      else {
        const packetId = body + 2 + bytes.readUInt16BE(body);
        acked = encodePuback(acks, acked, bytes.readUInt16BE(packetId));
      }
      at = body + length;
    }
    rest = bytes.subarray(at);
    if (acked > 0) socket.write(acks.subarray(0, acked));
  });
  socket.on("error", () => socket.destroy());
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.(typeof address === "object" ? address?.port : 0);
});
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => {});
