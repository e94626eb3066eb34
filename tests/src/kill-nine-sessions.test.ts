/**
 * Goal: lasting sessions under QoS 1 and 2 load survive kill -9. Nothing that was acknowledged to a publisher is missing at a
 * subscriber, no QoS 2 message comes twice, and packet identifiers mean after a restart what they meant before.
 * Method: independent clients (MQTT.js) keep their side of each session in its store, as a device keeps it in flash, reconnect by
 * themselves, and publish and receive numbered messages while the node is killed and started again on one data folder.
 * HEADRACE_SESSIONS sets the number of sessions (default 100; the soak takes 1,000).
 */
import { setTimeout as sleep } from "node:timers/promises";
import mqtt from "mqtt";
import { expect, test } from "vitest";
import { appFile, NodeProcess, soon, stablePort, temporaryFolder } from "./node-process.ts";

const sessions = Number(process.env.HEADRACE_SESSIONS ?? 100);
const kills = 3;
const inFlightMax = 4;

/** One client with a lasting session, which publishes to its own topic and subscribes to that of its neighbour. */
class Peer {
  readonly sent: string[] = [];
  readonly acknowledged: string[] = [];
  readonly received: string[] = [];
  readonly errors: string[] = [];
  readonly #client: mqtt.MqttClient;
  readonly #topic: string;
  readonly #qos: 1 | 2;
  #isPublishing = true;

  constructor(port: number, index: number) {
    this.#qos = index % 2 === 0 ? 2 : 1;
    this.#topic = `peers/${index}`;
    const neighbour = (index + 2) % sessions;
    this.#client = mqtt.connect({
      host: "127.0.0.1",
      port,
      clientId: `peer-${index}`,
      protocolVersion: index % 4 < 2 ? 5 : 4,
      clean: false,
      reconnectPeriod: 100,
      connectTimeout: 10_000,
      ...(index % 4 < 2 && { properties: { sessionExpiryInterval: 3_600 } }),
    });
    this.#client.on("error", () => undefined);
    this.#client.on("message", (_topic, payload) => this.received.push(String(payload)));
    this.ready = this.#client.subscribeAsync(`peers/${neighbour}`, { qos: this.#qos }).then(() => undefined);
  }

  readonly ready: Promise<void>;

  get waiting(): number {
    return this.sent.length - this.acknowledged.length;
  }

  publish(): void {
    if (!this.#isPublishing || this.waiting >= inFlightMax) return;
    const text = String(this.sent.length + 1);
    this.sent.push(text);
    this.#client.publish(this.#topic, text, { qos: this.#qos }, (error) => {
      // PUBCOMP 0x92 after a restart: the node has let go of the identifier already, so the message arrived (MQTT 5.0 §4.3.3).
      const hasArrived = error === undefined || error === null || (error as { code?: number }).code === 0x92;
      if (hasArrived) this.acknowledged.push(text);
      else this.errors.push(String(error));
    });
  }

  stop(): void {
    this.#isPublishing = false;
  }
  close(): Promise<void> {
    return this.#client.endAsync(true);
  }
}

test(`P1, N6: ${sessions} lasting sessions under QoS 1 and 2 load lose nothing over ${kills} times kill -9, QoS 2 doubles nothing`, async () => {
  using folder = temporaryFolder();
  const port = await stablePort();
  const start = () => NodeProcess.start({ app: appFile("counting"), data: folder.path, mqttPort: port });
  let node = await start();
  const peers = Array.from({ length: sessions }, (_, index) => new Peer(port, index));
  await Promise.all(peers.map(({ ready }) => ready));
  const timer = setInterval(() => {
    for (const peer of peers) peer.publish();
  }, 20);
  try {
    for (let kill = 0; kill < kills; kill += 1) {
      const before = peers.map(({ acknowledged }) => acknowledged.length);
      // Everybody gets through at least once before each kill.
      await expect
        .poll(() => peers.every(({ acknowledged }, index) => acknowledged.length > (before[index] ?? 0) + 5), soon)
        .toBe(true);
      await sleep(50);
      await node.end("SIGKILL");
      node = await start();
    }
    for (const peer of peers) peer.stop();
    await expect
      .poll(
        () =>
          peers.flatMap((peer, index) =>
            peer.waiting === 0 ? [] : [`${index}: ${peer.waiting} ${peer.errors.join()}`],
          ),
        soon,
      )
      .toEqual([]);
    expect(peers.flatMap(({ errors }) => errors)).toEqual([]);
    const sourceOf = (index: number): Peer => peers[(index + 2) % sessions] as Peer;
    await expect
      .poll(
        () =>
          peers.filter(({ received }, index) => new Set(received).size < sourceOf(index).acknowledged.length).length,
        soon,
      )
      .toBe(0);
    await sleep(200);
    for (const [index, { received }] of peers.entries()) {
      const { sent } = sourceOf(index);
      if (index % 2 === 0) expect(received, `peer ${index}, QoS 2`).toEqual(sent);
      else expect([...new Set(received)], `peer ${index}, QoS 1`).toEqual(sent);
    }
  } finally {
    clearInterval(timer);
    await Promise.all(peers.map((peer) => peer.close()));
    await node[Symbol.asyncDispose]();
  }
}, 180_000);
