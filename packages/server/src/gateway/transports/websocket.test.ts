/**
 * Goal: MQTT over WebSocket is MQTT, and nothing but it comes in: chapter 6 of both specifications, RFC 6455, and the faults of others.
 * Method: raw requests and frames; MQTT.js, paho and Node's own WebSocket as clients that are not ours.
 */
import { encodeConnect, encodePingreq, encodePublish, packetTypes, utf8 } from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { runMqttJs, runPaho } from "../../../test/foreign-clients.ts";
import { startTestNode, type TestNode } from "../../../test/gateway-node.ts";
import { clientFrame, frameOpcodes, RawWebSocket, upgradeRequest } from "../../../test/raw-web-socket.ts";

const { binary, continuation, text, close, ping, pong } = frameOpcodes;
const topic = "plants/a/pumps/p1";
const listener = { transport: "ws", host: "127.0.0.1", port: 0 } as const;
const start = (options: Parameters<typeof startTestNode>[0] = {}): Promise<TestNode> =>
  startTestNode({ listeners: [listener], ...options });
const connectPacket = (clientId = "c", keepAliveSeconds = 60): Buffer =>
  Buffer.from(encodeConnect({ version: 5, clientId, keepAliveSeconds }));
const publishPacket = (payload: string, packetId: number): Buffer =>
  Buffer.from(encodePublish({ version: 5, qos: 1, packetId, topic: utf8(topic), payload: utf8(payload) }));
const connack = (socket: RawWebSocket): boolean => socket.payload[0] === packetTypes.connack << 4;

describe.each([1, 2])("with %i gateway thread(s)", { timeout: 60_000 }, (gateways) => {
  test("MQTT.js, paho and Node's WebSocket store, and hear each other", async () => {
    await using node = await start({ gateways });
    const url = `ws://127.0.0.1:${node.port}/mqtt`;
    const large = "x".repeat(100_000);
    expect(await runMqttJs({ url, topic, payloads: ["js", large] })).toEqual(["js", large]);
    await runPaho({ port: node.port, topic, payload: "py", transport: "websockets" });

    const socket = new WebSocket(url, "mqtt");
    await new Promise((opened) => socket.addEventListener("open", opened));
    const answers: Uint8Array[] = [];
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => answers.push(new Uint8Array(data as ArrayBuffer)));
    socket.send(Buffer.concat([connectPacket("undici"), publishPacket("undici", 1)]));
    const acknowledged = Buffer.from([0x40, 2, 0, 1]);
    await expect.poll(() => Buffer.concat(answers).includes(acknowledged), { timeout: 10_000 }).toBe(true);
    const closed = new Promise((gone) => socket.addEventListener("close", gone));
    socket.close(1000);
    expect(await closed).toMatchObject({ code: 1000, wasClean: true });
    await expect.poll(() => node.gateway.stats().connections, { timeout: 10_000 }).toBe(0);
    const stored = (await node.events("readings")).map(({ payload, client: name }) => `${name}: ${payload.length}`);
    expect(stored.sort()).toEqual(["js: 100000", "js: 2", "py: 2", "undici: 6"]);
  });
});

describe("frames", () => {
  test("[v4 6.0.0-1] [v5 6.0.0-1] a text frame closes, whatever it holds", async () => {
    await using node = await start();
    await using socket = await RawWebSocket.connect(node.port);
    socket.send(clientFrame(binary, connectPacket()));
    await socket.until(() => connack(socket));
    socket.send(clientFrame(text, encodePingreq()));
    await socket.closed();
    expect(socket.closeCode).toBe(1003);
    expect(socket.payload.includes(packetTypes.pingresp << 4)).toBe(false);
  });

  test("[v4 6.0.0-2] [v5 6.0.0-2] packets span frames, frames hold several packets, at every place", async () => {
    await using node = await start();
    await using socket = await RawWebSocket.connect(node.port);
    const [first, second] = [connectPacket().subarray(0, 5), connectPacket().subarray(5)];
    socket.send(clientFrame(binary, first), clientFrame(binary, second));
    await socket.until(() => connack(socket));
    const answers: Buffer[] = [];
    const { byteLength } = publishPacket("first", 1);
    for (let at = 0; at <= 2 * byteLength; at++) {
      const packets = Buffer.concat([publishPacket("first", 2 * at + 1), publishPacket("other", 2 * at + 2)]);
      socket.send(clientFrame(binary, packets.subarray(0, at)), clientFrame(binary, packets.subarray(at)));
      answers.push(Buffer.from([0x40, 2, 0, 2 * at + 1, 0x40, 2, 0, 2 * at + 2]));
    }
    await socket.until(() => socket.payload.includes(Buffer.concat(answers)));
    expect(await node.events("readings")).toHaveLength(2 * answers.length);
  });

  test("frames that arrive byte by byte, the first of them with the request", async () => {
    await using node = await start();
    await using socket = await RawWebSocket.open(node.port);
    const bytes = Buffer.concat([
      clientFrame(binary, connectPacket(), { isFinal: false }),
      clientFrame(ping, Buffer.from("between")),
      clientFrame(continuation, publishPacket("one", 1)),
    ]);
    socket.socket.setNoDelay(true);
    socket.socket.write(Buffer.concat([Buffer.from(upgradeRequest()), bytes.subarray(0, 9)]));
    await socket.until(() => socket.head !== "");
    for (const byte of bytes.subarray(9)) {
      socket.socket.write(Uint8Array.of(byte));
      await new Promise(setImmediate);
    }
    await socket.until(() => socket.payload.includes(Buffer.from([0x40, 2, 0, 1])));
    expect(socket.frames.find(({ opcode }) => opcode === pong)?.payload.toString()).toBe("between");
  });

  test("a packet whose Remaining Length is beyond its frame waits for the next, and is not read beyond it (M2)", async () => {
    await using node = await start({ limits: { connectDeadlineMs: 500 } });
    await using early = await RawWebSocket.connect(node.port);
    // CONNECT that announces 100 bytes and has 13: nothing is answered, and the deadline of CONNECT ends it.
    early.send(clientFrame(binary, Buffer.from("1064" + "00044d515454050200" + "3c000001", "hex")));
    await early.closed();
    expect(early.frames).toEqual([]);

    await using socket = await RawWebSocket.connect(node.port);
    socket.send(clientFrame(binary, connectPacket()));
    await socket.until(() => connack(socket));
    const packet = publishPacket("x".repeat(300), 1);
    socket.send(clientFrame(binary, packet.subarray(0, 20)), clientFrame(ping, Buffer.from("alive?")));
    await socket.until(() => socket.frames.some(({ opcode }) => opcode === pong));
    socket.send(clientFrame(binary, packet.subarray(20)));
    await socket.until(() => socket.payload.includes(Buffer.from([0x40, 2, 0, 1])));
    expect((await node.events("readings")).map(({ payload }) => payload)).toEqual(["x".repeat(300)]);

    // Beyond the largest packet: refused when it is announced.
    socket.send(clientFrame(binary, Buffer.from("30ffffff7f", "hex")));
    await socket.until(() => socket.closeCode !== undefined);
    expect(socket.closeCode).toBe(1000);
    expect(socket.payload.includes(Buffer.from([0xe0])), "DISCONNECT comes before").toBe(true);
  });

  test("a client that says close is answered, and its will is published when it has not said DISCONNECT", async () => {
    await using node = await start();
    await using socket = await RawWebSocket.connect(node.port);
    const will = { topic: "wills/c", payload: utf8("gone"), qos: 1 as const, retain: false };
    socket.send(clientFrame(binary, encodeConnect({ version: 5, clientId: "c", will })));
    await socket.until(() => connack(socket));
    socket.send(clientFrame(close, Buffer.from([0x0f, 0xa1])), clientFrame(binary, publishPacket("after", 1)));
    await socket.closed();
    expect(socket.closeCode).toBe(4001);
    await expect.poll(async () => (await node.events("mqtt")).map(({ payload }) => payload)).toEqual(["gone"]);
    expect(await node.events("readings")).toEqual([]);
  });

  test("a thousand pings at once are one pong or a few, the newest among them", async () => {
    await using node = await start();
    await using socket = await RawWebSocket.connect(node.port);
    socket.send(clientFrame(binary, connectPacket()));
    socket.send(...Array.from({ length: 1_000 }, (_, index) => clientFrame(ping, Buffer.from(`${index}`))));
    const pongs = (): string[] =>
      socket.frames.filter(({ opcode }) => opcode === pong).map(({ payload }) => payload.toString());
    await socket.until(() => pongs().includes("999"));
    expect(pongs().length).toBeLessThan(100);
  });
});

describe("the request", () => {
  test("[v4 6.0.0-3] [v5 6.0.0-3] [v4 6.0.0-4] [v5 6.0.0-4] mqtt has to be offered, and is what is chosen", async () => {
    await using node = await start();
    for (const offered of [undefined, "mqttv3.1", "chat, superchat"]) {
      await using refused = await RawWebSocket.connect(node.port, { "Sec-WebSocket-Protocol": offered });
      expect(refused.status, String(offered)).toBe(400);
      await refused.closed();
    }
    await using socket = await RawWebSocket.connect(node.port, { "Sec-WebSocket-Protocol": "mqttv3.1, mqtt" });
    expect(socket.head).toMatch(/^HTTP\/1\.1 101 /);
    expect(socket.head).toMatch(/^Sec-WebSocket-Protocol: mqtt$/m);
    // The example of RFC 6455 §1.3.
    expect(socket.head).toMatch(/^Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=$/m);
    expect(node.gateway.stats().listeners[0]).toMatchObject({ failed: 3 });
  });

  test("compression is offered and not taken, so that nothing can swell before it is authenticated (M20)", async () => {
    await using node = await start();
    const offer = "permessage-deflate; client_max_window_bits, permessage-deflate";
    await using socket = await RawWebSocket.connect(node.port, { "Sec-WebSocket-Extensions": offer });
    expect(socket.status).toBe(101);
    expect(socket.head).not.toMatch(/extensions/i);
    socket.send(clientFrame(binary, connectPacket(), { reserved: 0x40 }));
    await socket.closed();
    expect(socket.closeCode).toBe(1002);
  });

  test.each([
    ["another path", {}, "GET / HTTP/1.1", 404],
    ["another method", {}, "POST /mqtt HTTP/1.1", 405],
    ["no upgrade", { Upgrade: undefined, Connection: "close" }, "GET /mqtt HTTP/1.1", 426],
    ["another upgrade", { Upgrade: "h2c" }, "GET /mqtt HTTP/1.1", 426],
    ["version 8", { "Sec-WebSocket-Version": "8" }, "GET /mqtt HTTP/1.1", 426],
    ["no key", { "Sec-WebSocket-Key": undefined }, "GET /mqtt HTTP/1.1", 400],
    ["a short key", { "Sec-WebSocket-Key": "YQ==" }, "GET /mqtt HTTP/1.1", 400],
    ["no HTTP", {}, "HELLO", 400],
    ["endless headers", { "X-Long": "x".repeat(20_000) }, "GET /mqtt HTTP/1.1", 431],
    ["a query", {}, "GET /mqtt?a=b HTTP/1.1", 101],
  ])("%s is answered", async (_name, headers, line, status) => {
    await using node = await start();
    await using socket = await RawWebSocket.open(node.port);
    socket.socket.write(upgradeRequest(headers, line));
    await socket.until(() => socket.head !== "");
    expect(socket.status).toBe(status);
    if (status !== 101) await socket.closed();
  });

  test.each([
    ["http://localhost:3000", "broker.example", [], 101],
    ["http://127.0.0.1", "127.0.0.1:8083", [], 101],
    ["http://192.168.1.5", "192.168.1.5:8083", [], 101],
    ["http://evil.example", "127.0.0.1:8083", [], 403],
    ["http://evil.example:8083", "evil.example:8083", [], 403],
    ["null", "127.0.0.1", [], 403],
    ["http://localhost.evil.example", "127.0.0.1", [], 403],
    ["https://app.example", "broker.example", ["https://app.example"], 101],
    ["https://app.example:444", "broker.example", ["https://app.example"], 403],
    ["http://evil.example", "127.0.0.1", ["*"], 101],
  ])("a page of %s that calls %s with %j allowed gets %i (I11)", async (origin, host, origins, status) => {
    await using node = await start({ listeners: [{ ...listener, origins }] });
    await using socket = await RawWebSocket.connect(node.port, { Origin: origin, Host: host });
    expect(socket.status).toBe(status);
  });

  test("whoever does not finish the request, or sends no CONNECT behind it, is closed at the deadline (M16)", async () => {
    await using node = await start({ limits: { connectDeadlineMs: 500 } });
    await using silent = await RawWebSocket.open(node.port);
    await using slow = await RawWebSocket.open(node.port);
    await using upgraded = await RawWebSocket.connect(node.port);
    const bytes = upgradeRequest();
    let sent = 0;
    const timer = setInterval(() => {
      slow.socket.write(bytes.slice(sent, ++sent));
      upgraded.send(clientFrame(ping, Buffer.alloc(0)));
    }, 100);
    await Promise.all([silent.closed(), slow.closed(), upgraded.closed()]).finally(() => clearInterval(timer));
    await expect.poll(() => node.gateway.stats().listeners[0]).toMatchObject({ connections: 0, failed: 2 });
    expect(slow.head).toBe("");
  });
});
