/** A device that sends numbered messages with sequences, comes back by itself, and answers every command that it is given. */
import mqtt from "mqtt";
import type { MessageId } from "../checker.ts";
import type { Owed } from "../fixtures/owing.ts";

interface Command {
  readonly id: string;
  readonly args: { readonly epoch: number; readonly n: number };
}

export class OwedDevice {
  readonly name: string;
  readonly sent: MessageId[] = [];
  readonly acknowledged: MessageId[] = [];
  /** Ids of the commands, by the message that they are owed to. */
  readonly commands = new Map<number, Set<string>>();
  /** Why the node closed the connection, as often as it said so. */
  readonly goodbyes: number[] = [];
  #busyMs: number | undefined;
  readonly #client: mqtt.MqttClient;
  readonly #timer: NodeJS.Timeout;

  constructor(port: number, name: string, everyMs = 4) {
    this.name = name;
    this.#client = mqtt.connect({
      ...{ host: "127.0.0.1", port, clientId: name, protocolVersion: 5 },
      ...{ reconnectPeriod: 100, connectTimeout: 5000, keepalive: 30 },
    });
    this.#client.on("error", () => undefined);
    this.#client.on("disconnect", ({ reasonCode }) => this.goodbyes.push(reasonCode ?? 0));
    this.#client.subscribe(`devices/${name}/commands/+`, { qos: 1 });
    this.#client.on("message", (_topic, payload) => {
      const { id, args } = JSON.parse(payload.toString()) as Command;
      this.commands.set(args.n, (this.commands.get(args.n) ?? new Set()).add(id));
      this.#client.publish(`devices/${name}/commands/${id}/ack`, JSON.stringify({ ok: true }), { qos: 1 });
    });
    this.#timer = setInterval(() => this.#send(), everyMs);
  }

  #send(): void {
    if (this.sent.length - this.acknowledged.length >= 50) return;
    const id = { device: this.name, epoch: 1, sequence: this.sent.length + 1 };
    this.sent.push(id);
    const userProperties = { "hr-epoch": "1", "hr-seq": `${id.sequence}` };
    const payload = JSON.stringify({ epoch: 1, n: id.sequence, busyMs: this.#busyMs } satisfies Owed);
    this.#busyMs = undefined;
    this.#client.publish(`load/${this.name}`, payload, { qos: 1, properties: { userProperties } }, (error) => {
      if (!error) this.acknowledged.push(id);
    });
  }

  /** The function is busy with the next message for that long: what is acknowledged meanwhile is not processed. */
  occupy(busyMs: number): void {
    this.#busyMs = busyMs;
  }

  /** Sends nothing new. */
  quiet(): void {
    clearInterval(this.#timer);
  }
  get isConnected(): boolean {
    return this.#client.connected;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.quiet();
    await this.#client.endAsync(true);
  }
}
