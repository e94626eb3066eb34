/**
 * A server that acknowledges every PUBLISH, passes it on byte for byte, and does nothing else: what the loads can do when nothing
 * holds them up. It knows exact filters and `<prefix>/+`, and reads one packet after the other.
 */
import { createServer, type Socket } from "node:net";
import { encodePuback, encodeSuback } from "@headrace/mqtt";

const connect = 0x10;
const publish = 0x30;
const subscribe = 0x80;
const pingreq = 0xc0;
const disconnect = 0xe0;
const connack = Buffer.of(0x20, 2, 0, 0);
const pingresp = Buffer.of(0xd0, 0);

const subscribers = new Map<string, Set<Socket>>();
/** Topics that were seen, with the sockets that take them; forgotten when a subscription comes. */
const routes = new Map<string, readonly Socket[]>();

function routeOf(topic: string): readonly Socket[] {
  let found = routes.get(topic);
  if (found === undefined) {
    const wild = `${topic.slice(0, topic.lastIndexOf("/"))}/+`;
    found = [topic, wild].flatMap((filter) => [...(subscribers.get(filter) ?? [])]);
    routes.set(topic, found);
  }
  return found;
}

function onSubscribe(socket: Socket, bytes: Buffer, body: number): void {
  const filterBytes = bytes.readUInt16BE(body + 2);
  const filter = bytes.toString("latin1", body + 4, body + 4 + filterBytes);
  const qos = bytes[body + 4 + filterBytes]!;
  const own = subscribers.get(filter) ?? new Set();
  subscribers.set(filter, own.add(socket));
  routes.clear();
  socket.once("close", () => {
    own.delete(socket);
    routes.clear();
  });
  socket.write(encodeSuback(4, bytes.readUInt16BE(body), [qos]));
}

function serve(socket: Socket): void {
  socket.setNoDelay(true);
  let rest: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const acks = Buffer.allocUnsafe((bytes.length >> 4) * 4 + 4);
    let acked = 0;
    let at = 0;
    /** Neighbours with the same receivers go on together. */
    let forward: readonly Socket[] = [];
    let forwardFrom = 0;
    const passOn = (): void => {
      if (forward.length > 0) for (const receiver of forward) receiver.write(bytes.subarray(forwardFrom, at));
      forward = [];
    };
    while (at + 2 <= bytes.length) {
      const first = bytes[at]!;
      let length = bytes[at + 1]!;
      let body = at + 2;
      if (length >= 128) length = (length & 0x7f) | (bytes[body++]! << 7);
      if (body + length > bytes.length) break;
      if ((first & 0xf0) === publish) {
        const topicEnd = body + 2 + bytes.readUInt16BE(body);
        if ((first & 6) !== 0) acked = encodePuback(acks, acked, bytes.readUInt16BE(topicEnd));
        const route = subscribers.size === 0 ? [] : routeOf(bytes.toString("latin1", body + 2, topicEnd));
        if (route !== forward) {
          passOn();
          forward = route;
          forwardFrom = at;
        }
      } else {
        passOn();
        if (first === connect) socket.write(connack);
        else if (first === pingreq) socket.write(pingresp);
        else if (first === disconnect) socket.end();
        else if ((first & 0xf0) === subscribe) onSubscribe(socket, bytes, body);
      }
      at = body + length;
    }
    passOn();
    rest = bytes.subarray(at);
    if (acked > 0) socket.write(acks.subarray(0, acked));
  });
  socket.on("error", () => socket.destroy());
}

const server = createServer(serve);
server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  const address = server.address();
  process.send?.(typeof address === "object" ? address?.port : 0);
});
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => {});
