/**
 * Goal: the rest sees the client's address and not the proxy's, from named proxies only, and no header harms. Method: the parser at every
 * cut and with every byte changed; real connections over each transport behind a header that arrives in pieces.
 */
import { type AddressInfo, connect, createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import { encodeConnect } from "@headrace/mqtt";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { startTestNode, type TestNode } from "../../../test/gateway-node.ts";
import { upgradeRequest } from "../../../test/raw-web-socket.ts";
import { testAuthority } from "../../../test/test-authority.ts";
import { proxyHeaderBytesMax, readProxyHeader } from "./proxy-protocol.ts";
import { addressList } from "./proxy-stage.ts";
import type { Peer, Transport } from "./transport.ts";

const signature = Buffer.from("0d0a0d0a000d0a515549540a", "hex");
const header = (command: number, family: number, body: Buffer): Buffer => {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.byteLength);
  return Buffer.concat([signature, Buffer.from([0x20 | command, family]), length, body]);
};
/** 203.0.113.7:4567 came to 10.0.0.1:1883. */
const addresses4 = Buffer.from("cb0071070a00000111d7075b", "hex");
/** 2001:db8::7, port 4567. */
const addresses6 = Buffer.from(
  "20010db8000000000000000000000007" + "20010db8000000000000000000000001" + "11d7075b",
  "hex",
);
const v4 = header(1, 0x11, addresses4);
const v6 = header(1, 0x21, addresses6);
const tlv = Buffer.from("040003aabbcc", "hex");

describe("the header", () => {
  test.each([
    ["IPv4", v4, { address: "203.0.113.7", port: 4567 }],
    ["IPv6", v6, { address: "2001:db8::7", port: 4567 }],
    ["with TLVs", header(1, 0x11, Buffer.concat([addresses4, tlv])), { address: "203.0.113.7", port: 4567 }],
    ["of the proxy itself (LOCAL)", header(0, 0, Buffer.alloc(0)), undefined],
    ["of a UNIX socket", header(1, 0x31, Buffer.alloc(216)), undefined],
  ])("%s is read, and nothing behind it", (_name, bytes, client) => {
    expect(readProxyHeader(Buffer.concat([bytes, Buffer.from("after")]))).toEqual({
      type: "header",
      byteLength: bytes.byteLength,
      client,
    });
  });

  test.each([
    ["version 1", Buffer.from("PROXY TCP4 203.0.113.7 10.0.0.1 4567 1883\r\n")],
    ["MQTT", Buffer.from(encodeConnect({ version: 5, clientId: "c" }))],
    ["version 3", Buffer.concat([signature, Buffer.from([0x31, 0x11, 0, 0])])],
    ["command 2", header(2, 0x11, addresses4)],
    ["family 4", header(1, 0x41, addresses4)],
    ["a datagram", header(1, 0x12, addresses4)],
    ["IPv6 with the length of IPv4", header(1, 0x21, addresses4)],
    ["IPv4 that is cut", header(1, 0x11, addresses4.subarray(1))],
    ["more than is read", Buffer.concat([signature, Buffer.from([0x21, 0x11, 0xff, 0xff])])],
  ])("%s is refused", (_name, bytes) => {
    expect(readProxyHeader(bytes)).toMatchObject({ type: "wrong" });
  });

  test("cut at any byte it waits for more, and bytes behind it change nothing", () => {
    for (const bytes of [v4, v6, header(1, 0x11, Buffer.concat([addresses4, tlv]))]) {
      for (let at = 0; at < bytes.byteLength; at++) {
        expect(readProxyHeader(bytes.subarray(0, at))).toEqual({ type: "incomplete" });
      }
    }
  });

  test("whatever is in it, it is refused, waited for within the bound, or read within what is there", () => {
    const changed = fc
      .record({ at: fc.nat(v6.byteLength - 1), byte: fc.nat(255), more: fc.uint8Array({ maxLength: 40 }) })
      .map(({ at, byte, more }) => {
        const bytes = Buffer.concat([v6, more]);
        bytes[at] = byte;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        const found = readProxyHeader(bytes);
        if (found.type === "header") expect(found.byteLength).toBeLessThanOrEqual(bytes.byteLength);
        if (found.type === "incomplete") expect(bytes.byteLength).toBeLessThan(proxyHeaderBytesMax);
      }),
    );
  });

  test("what is no address and no network is refused by name", () => {
    for (const entry of ["localhost", "10.0.0.0/33", "10.0.0.0/a", "::1/129", "1.2.3.4/8/8", ""])
      expect(() => addressList([entry])).toThrow(JSON.stringify(entry));
  });
});

describe("connections", () => {
  const authority = testAuthority();
  const start = async (
    transport: Transport,
    proxies: readonly string[],
    rest: Parameters<typeof startTestNode>[0] = {},
  ): Promise<{ readonly node: TestNode; readonly peers: Peer[] }> => {
    const peers: Peer[] = [];
    const node = await startTestNode({
      listeners: [{ transport, host: "127.0.0.1", port: 0, proxies }],
      tls: { certificate: authority.server.certificate, key: authority.server.key },
      authenticate: ({ peer }) => {
        peers.push(peer);
        return { identity: undefined };
      },
      ...rest,
    });
    return { node, peers };
  };
  const connectPacket = Buffer.from(encodeConnect({ version: 5, clientId: "c" }));

  test.each(["tcp", "ws"] as const)(
    "over %s the client's address is what is seen, however the header is cut",
    async (transport) => {
      const { node, peers } = await start(transport, ["127.0.0.0/8"]);
      await using _node = node;
      const bytes = Buffer.concat([v4, transport === "ws" ? Buffer.from(upgradeRequest()) : connectPacket]);
      for (const cut of [1, 15, 16, v4.byteLength - 1, v4.byteLength, v4.byteLength + 3, bytes.byteLength]) {
        const socket = connect(node.port, "127.0.0.1");
        socket.setNoDelay(true);
        socket.write(bytes.subarray(0, cut));
        await new Promise((later) => setTimeout(later, 20));
        socket.write(bytes.subarray(cut));
        const answer = await new Promise<Buffer>((data) => socket.once("data", data));
        if (transport === "ws") expect(answer.toString("latin1")).toMatch(/^HTTP\/1\.1 101 /);
        socket.destroy();
      }
      if (transport === "tcp") {
        expect(peers).toHaveLength(7);
        for (const peer of peers) expect(peer).toMatchObject({ address: "203.0.113.7", port: 4567 });
      }
    },
  );

  test("over TLS, with the first bytes of the handshake in the packet of the header", async () => {
    const { node, peers } = await start("tls", ["127.0.0.1"]);
    await using _node = node;
    const proxy = createServer((client) => {
      const upstream = connect(node.port, "127.0.0.1");
      client.once("data", (first) => {
        upstream.write(Buffer.concat([v6, first]));
        client.pipe(upstream).pipe(client);
      });
      for (const end of [client, upstream]) end.on("error", () => undefined);
    });
    await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening));
    const { port } = proxy.address() as AddressInfo;
    const socket = connectTls({ host: "127.0.0.1", port, ca: authority.pem, servername: "localhost" });
    socket.write(connectPacket);
    const answer = await new Promise<Buffer>((data) => socket.once("data", data));
    expect(answer[0]).toBe(0x20);
    expect(peers).toMatchObject([{ address: "2001:db8::7", port: 4567, transport: "tls" }]);
    socket.destroy();
    proxy.close();
  });

  test("a proxy that is not named, a client without header and version 1 are closed; a health check keeps its own address", async () => {
    const { node } = await start("tcp", ["10.0.0.0/8"]);
    await using _node = node;
    const stranger = connect(node.port, "127.0.0.1");
    stranger.on("error", () => undefined);
    stranger.write(Buffer.concat([v4, connectPacket]));
    await new Promise((gone) => stranger.once("close", gone));

    const { node: open, peers } = await start("tcp", ["127.0.0.1"]);
    await using _open = open;
    for (const bytes of [connectPacket, Buffer.from("PROXY TCP4 203.0.113.7 10.0.0.1 4567 1883\r\n")]) {
      const socket = connect(open.port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(bytes);
      await new Promise((gone) => socket.once("close", gone));
    }
    expect(peers).toEqual([]);
    const check = connect(open.port, "127.0.0.1");
    check.write(Buffer.concat([header(0, 0, Buffer.alloc(0)), connectPacket]));
    await new Promise((data) => check.once("data", data));
    expect(peers).toMatchObject([{ address: "127.0.0.1" }]);
    check.destroy();
    await expect.poll(() => open.gateway.stats().listeners).toMatchObject([{ connections: 0, failed: 2 }]);
  });

  test("a header that does not come is waited for no longer than a CONNECT (M16)", async () => {
    const { node } = await start("tcp", ["127.0.0.1"], { limits: { connectDeadlineMs: 300 } });
    await using _node = node;
    const socket = connect(node.port, "127.0.0.1");
    socket.write(v4.subarray(0, 14));
    await new Promise((gone) => socket.once("close", gone));
  });
});
