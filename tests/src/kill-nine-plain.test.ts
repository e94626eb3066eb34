/**
 * Goal (P1): what clients without sequences may rely on, which is less: at least once. Nothing that was acknowledged is lost,
 * in the order of its first arrival; a message that was on its way when the node died may be stored twice.
 * Method: mosquitto_pub, whose exit status 0 says that everything it read was acknowledged, and MQTT.js, which tells each
 * acknowledgement, publish on while the node is killed and started again on one data folder.
 */
import { setTimeout as sleep } from "node:timers/promises";
import mqtt from "mqtt";
import { expect, test } from "vitest";
import { type MessageId, violationsOf } from "./checker.ts";
import type { Load } from "./fixtures/counting.ts";
import { appFile, NodeProcess, Running, soon, stablePort, storedIn, temporaryFolder } from "./node-process.ts";

const kills = 5;

/** Publishes a line every few milliseconds through one mosquitto_pub, which reconnects by itself. */
class Publisher implements AsyncDisposable {
  readonly sent: MessageId[] = [];
  readonly #running: Running;
  readonly #timer: NodeJS.Timeout;

  constructor(port: number, device: string) {
    const to = ["-h", "127.0.0.1", "-p", `${port}`, "-t", `load/${device}`, "-i", device];
    this.#running = new Running("mosquitto_pub", [...to, "-q", "1", "-l"]);
    this.#timer = setInterval(() => {
      const n = this.sent.length + 1;
      this.sent.push({ device, epoch: 0, sequence: n });
      this.#running.child.stdin?.write(`${JSON.stringify({ epoch: 0, n } satisfies Load)}\n`);
    }, 4);
  }

  /** What is acknowledged: everything when the command says so, else nothing is known. */
  async end(): Promise<readonly MessageId[]> {
    clearInterval(this.#timer);
    this.#running.child.stdin?.end();
    const { code } = await this.#running.ended;
    return code === 0 ? this.sent : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#running[Symbol.asyncDispose]();
  }
}

/** Publishes on one connection that comes back, and notes each acknowledgement. */
class Client {
  readonly sent: MessageId[] = [];
  readonly acknowledged: MessageId[] = [];
  readonly #client: mqtt.MqttClient;
  readonly #timer: NodeJS.Timeout;

  constructor(port: number, device: string) {
    const reconnecting = { reconnectPeriod: 100, connectTimeout: 5000 };
    this.#client = mqtt.connect({ host: "127.0.0.1", port, clientId: device, protocolVersion: 4, ...reconnecting });
    this.#client.on("error", () => undefined);
    this.#timer = setInterval(() => {
      if (this.sent.length - this.acknowledged.length >= 100) return;
      const id = { device, epoch: 0, sequence: this.sent.length + 1 };
      this.sent.push(id);
      const payload = JSON.stringify({ epoch: 0, n: id.sequence } satisfies Load);
      this.#client.publish(`load/${device}`, payload, { qos: 1 }, (error) => {
        if (!error) this.acknowledged.push(id);
      });
    }, 4);
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await expect.poll(() => this.acknowledged.length, soon).toBe(this.sent.length);
    await this.#client.endAsync();
  }
}

test(`clients without sequences lose nothing in ${kills} kills`, { timeout: 180_000 }, async () => {
  using folder = temporaryFolder();
  const mqttPort = await stablePort();
  const options = { app: appFile("counting"), data: folder.path, mqttPort };
  const publishers: Publisher[] = [];
  await using stack = new AsyncDisposableStack();
  let client: Client | undefined;

  for (let kill = 1; kill <= kills; kill++) {
    await using node = await NodeProcess.start(options);
    client ??= new Client(mqttPort, "client");
    publishers.push(stack.use(new Publisher(mqttPort, `publisher-${kill}`)));
    const before = client.acknowledged.length;
    await expect.poll(() => client!.acknowledged.length, soon).toBeGreaterThan(before + 10);
    await sleep(Math.random() * 700);
    await node.end("SIGKILL");
  }
  await using node = await NodeProcess.start(options);
  await client?.end();
  const acknowledgedBy = await Promise.all(publishers.map((publisher) => publisher.end()));
  await node.drained();

  const events = await node.events<Load>("load", storedIn(await node.status(), "load"));
  const stored = events.map(({ device, value: { epoch, n } }) => ({ device, epoch, sequence: n }));
  const sent = [...publishers.flatMap((publisher) => publisher.sent), ...(client?.sent ?? [])];
  const acknowledged = [...acknowledgedBy.flat(), ...(client?.acknowledged ?? [])];
  expect(acknowledgedBy.filter((ids) => ids.length > 0).length, "mosquitto_pub came back").toBeGreaterThan(0);
  expect(violationsOf({ sent, acknowledged, stored }, "atLeastOnce")).toEqual([]);
  console.log(`${acknowledged.length} of ${sent.length} messages acknowledged, ${stored.length} stored`);

  // Whatever is stored is counted exactly once, and one row.
  const { tasks } = await node.status();
  for (const name of ["count-openly", "count-silently"]) {
    const processed = tasks.filter((task) => task.function === name).reduce((sum, task) => sum + task.processed, 0);
    expect(processed, name).toBe(stored.length);
  }
  const count = "SELECT count(*), count(DISTINCT (partition, writer, sequence)) FROM load";
  expect(await node.query(count)).toEqual([[stored.length, stored.length]]);
});
