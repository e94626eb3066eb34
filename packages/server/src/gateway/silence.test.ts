// Goal: who is silent is found, and nobody else is called silent. Method: real sockets; clients that must go on while the node
// stands still live in a thread of their own.
import { connect, createServer, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { encodeConnect, encodePingreq, packetTypes, reasonCodes, utf8 } from "@headrace/mqtt";
import { describe, expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const standStill = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** A client in a thread of its own that sends PINGREQ every 300 ms, whatever this thread does. */
const healthyClient = async (port: number): Promise<{ isClosed: boolean } & AsyncDisposable> => {
  const connectPacket = encodeConnect({ version: 5, clientId: "healthy", keepAliveSeconds: 2 });
  const worker = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     const socket = require("node:net").connect(workerData.port, "127.0.0.1", () => socket.write(workerData.connect));
     socket.on("error", () => undefined);
     socket.on("close", () => { clearInterval(timer); parentPort.postMessage("closed"); });
     socket.on("data", (bytes) => { if (bytes[0] === 0x20) parentPort.postMessage("connected"); });
     const timer = setInterval(() => socket.write(workerData.ping), 300);`,
    { eval: true, execArgv: [], workerData: { port, connect: connectPacket, ping: encodePingreq() } },
  );
  const client = {
    isClosed: false,
    async [Symbol.asyncDispose]() {
      await worker.terminate();
    },
  };
  await new Promise<void>((resolve) => {
    worker.on("message", (news) => {
      if (news === "connected") resolve();
      else client.isClosed = true;
    });
  });
  return client;
};

/** Stands between client and node; `freeze` drops whatever comes from then on, the end of a connection too. */
const freezingProxy = async (port: number) => {
  let isFrozen = false;
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    sockets.push(near, far);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("error", () => undefined);
      from.on("data", (bytes) => !isFrozen && to.write(bytes));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    freeze: () => {
      isFrozen = true;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

test("P3: an event loop that stands still ends no healthy client, and the stall is counted", async () => {
  await using node = await startTestNode();
  await using client = await healthyClient(node.port);
  standStill(4_000);
  await pause(1_500);
  expect(client.isClosed).toBe(false);
  const { stalls, stalledMs } = node.gateway.stats();
  expect(stalls).toBeGreaterThan(0);
  expect(stalledMs).toBeGreaterThanOrEqual(1_000);
}, 60_000);

// Each waits most of the time.
describe.concurrent("silence", () => {
  test("P3: a client that the node does not read is not silent", async ({ expect }) => {
    await using node = await startTestNode({ limits: { waitingBytesMax: 1_000 } });
    await using client = await RawClient.connect(node.port, { clientId: "held", keepAliveSeconds: 1 });
    // No group gets durable, so what the first message fills stays full.
    const source = node.log.requestFlush.bind(node.log);
    node.log.requestFlush = () => undefined;
    client.publish("raw/x", "x".repeat(2_000), { packetId: 1 });
    await pause(100);
    client.publish("raw/x", "x", { packetId: 2 });
    await pause(3_000);
    expect(client.isClosed).toBe(false);
    node.log.requestFlush = source;
    source(0);
    expect(await client.acknowledged(2)).toMatchObject({ reasonCode: 0 });
  });

  test("N6: a half-open connection ends after one and a half keep alives, its will is sent once", async ({
    expect,
  }) => {
    await using node = await startTestNode();
    await using proxy = await freezingProxy(node.port);
    await using heir = await RawClient.connect(node.port, { clientId: "heir" });
    await heir.subscribe("raw/will", 0);
    const will = { topic: "raw/will", payload: utf8("gone"), qos: 1 as const, retain: false };
    const startMs = performance.now();
    const lost = await RawClient.connect(proxy.port, { clientId: "lost", keepAliveSeconds: 1, will });
    proxy.freeze();
    lost.destroy();
    await heir.received(1);
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(1_500);
    await expect.poll(() => node.gateway.stats().connections, { timeout: 5_000 }).toBe(1);
    await pause(300);
    expect(heir.messages.map(({ payload }) => payload)).toEqual(["gone"]);
    expect((await node.events("raw")).map(({ payload }) => payload)).toEqual(["gone"]);
  });

  test("M15: a keep alive that is long or off is shortened, and the client is told; 3.1.1 has the idle bound", async ({
    expect,
  }) => {
    await using node = await startTestNode({ limits: { keepAliveMaxSeconds: 1, idleMaxSeconds: 1 } });
    const slow = async (keepAliveSeconds: number): Promise<void> => {
      const clientId = `slow-${keepAliveSeconds}`;
      await using client = await RawClient.connect(node.port, { clientId, keepAliveSeconds });
      expect(client.packets[0]?.properties).toMatchObject({ serverKeepAliveSeconds: 1 });
      expect(await client.until(({ type }) => type === packetTypes.disconnect, 6_000)).toMatchObject({
        reasonCode: reasonCodes.keepAliveTimeout,
      });
    };
    const old = async (keepAliveSeconds: number): Promise<void> => {
      const clientId = `old-${keepAliveSeconds}`;
      await using client = await RawClient.connect(node.port, { clientId, version: 4, keepAliveSeconds });
      await client.closed(6_000);
    };
    await Promise.all([slow(65_535), slow(0), old(65_535), old(0)]);
  });

  test("M16: a client that is told to go and keeps sending is closed at the deadline all the same", async ({
    expect,
  }) => {
    await using node = await startTestNode();
    // Half open: it answers the end of our side with more packets instead of its own end.
    const rude = connect({ port: node.port, host: "127.0.0.1", allowHalfOpen: true });
    rude.on("error", () => undefined);
    rude.resume();
    let isClosed = false;
    rude.on("close", () => {
      isClosed = true;
    });
    rude.write(encodeConnect({ version: 5, clientId: "rude" }));
    const timer = setInterval(() => rude.write(encodePingreq()), 200);
    await expect.poll(() => node.gateway.stats().connections).toBe(1);
    await pause(100);
    await using polite = await RawClient.connect(node.port, { clientId: "rude" });
    await expect.poll(() => isClosed, { timeout: 8_000 }).toBe(true);
    clearInterval(timer);
    rude.destroy();
    expect(polite.isClosed).toBe(false);
  });
});
