/** For tests: an MQTT client that sends any bytes and shows every packet that it gets. */
import { connect, type Socket } from "node:net";
import {
  type ConnectOptions,
  decodeAcknowledgement,
  decodeAuth,
  decodeConnack,
  decodeDisconnect,
  decodePublishProperties,
  decodeSuback,
  encodeAcknowledgement,
  encodeConnect,
  encodePublish,
  encodeSubscribe,
  type FilterRequest,
  PacketScanner,
  type Properties,
  type ProtocolVersion,
  type PublishMessage,
  packetTypes,
  utf8,
} from "@headrace/mqtt";

export interface SeenPacket {
  readonly type: number;
  readonly packetId?: number;
  readonly reasonCode?: number;
  readonly topic?: string;
  readonly payload?: string;
  readonly retain?: boolean;
  readonly qos?: number;
  readonly duplicate?: boolean;
  readonly sessionPresent?: boolean;
  readonly properties?: Properties;
  readonly codes?: readonly number[];
}

export class RawClient implements AsyncDisposable {
  readonly packets: SeenPacket[] = [];
  readonly version: ProtocolVersion;
  readonly #socket: Socket;
  #waiting: (() => void)[] = [];
  isClosed = false;

  private constructor(socket: Socket, version: ProtocolVersion) {
    this.#socket = socket;
    this.version = version;
    const scanner = new PacketScanner({ from: "server", version });
    socket.on("data", (chunk) => {
      scanner.feed(chunk);
      for (let type = scanner.next(); type !== 0; type = scanner.next()) this.packets.push(this.#see(scanner, type));
      this.#wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  #see(scanner: PacketScanner, type: number): SeenPacket {
    const { buffer, start, end, publish } = scanner;
    if (type >= packetTypes.puback && type <= packetTypes.pubcomp) {
      return { type, ...decodeAcknowledgement(this.version, type, buffer, start, end) };
    }
    if (type === packetTypes.disconnect)
      return { type, reasonCode: decodeDisconnect(this.version, buffer, start, end).reasonCode };
    if (type === packetTypes.connack) {
      const { reasonCode, sessionPresent, properties } = decodeConnack(this.version, buffer, start, end);
      return { type, reasonCode, sessionPresent, properties };
    }
    if (type === packetTypes.auth) return { type, ...decodeAuth(buffer, start, end) };
    if (type === packetTypes.suback || type === packetTypes.unsuback) {
      const { packetId, reasonCodes: codes } = decodeSuback(this.version, type, buffer, start, end);
      return { type, packetId, codes: [...codes] };
    }
    if (type !== packetTypes.publish) return { type };
    const text = (from: number, to: number): string => publish.buffer.toString("utf8", from, to);
    const { packetId, retain, qos, duplicate } = publish;
    const properties =
      publish.propertiesEnd > publish.propertiesStart
        ? decodePublishProperties(publish.buffer, publish.propertiesStart, publish.propertiesEnd)
        : {};
    return {
      type,
      packetId,
      retain,
      qos,
      duplicate,
      properties,
      topic: text(publish.topicStart, publish.topicEnd),
      payload: text(publish.payloadStart, publish.payloadEnd),
    };
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** A socket without CONNECT. */
  static async open(port: number, version: ProtocolVersion = 5): Promise<RawClient> {
    const socket = connect(port, "127.0.0.1");
    await new Promise((connected) => socket.once("connect", connected));
    return new RawClient(socket, version);
  }

  /** Sends CONNECT and waits for nothing. */
  static async begin(port: number, options: Partial<ConnectOptions> & { clientId: string }): Promise<RawClient> {
    const version = options.version ?? 5;
    const client = await RawClient.open(port, version);
    client.send(encodeConnect({ ...options, version }));
    return client;
  }

  static async connect(port: number, options: Partial<ConnectOptions> & { clientId: string }): Promise<RawClient> {
    const client = await RawClient.begin(port, options);
    await client.until((packet) => packet.type === packetTypes.connack);
    return client;
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }
  /** What the other side has not let in. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }
  publish(topic: string, payload: string, rest: Partial<PublishMessage> = {}): void {
    this.send(
      encodePublish({
        version: this.version,
        qos: 1,
        packetId: 1,
        ...rest,
        topic: utf8(topic),
        payload: utf8(payload),
      }),
    );
  }
  async subscribe(filter: string, qos: 0 | 1 | 2 = 1, rest: Partial<FilterRequest> = {}): Promise<SeenPacket> {
    const before = this.packets.length;
    this.send(encodeSubscribe({ version: this.version, packetId: 9, filters: [{ ...rest, filter, qos }] }));
    return this.until((packet) => packet.type === packetTypes.suback && this.packets.indexOf(packet) >= before);
  }
  /** Sends PUBACK, PUBREC, PUBREL or PUBCOMP. */
  acknowledge(type: number, packetId: number, reasonCode = 0): void {
    this.send(encodeAcknowledgement({ version: this.version, type, packetId, reasonCode }));
  }
  /** The messages that have come. */
  get messages(): SeenPacket[] {
    return this.packets.filter(({ type }) => type === packetTypes.publish);
  }
  /** The messages once there are this many. */
  async received(count: number): Promise<SeenPacket[]> {
    await this.until(() => this.messages.length >= count, 10_000);
    return this.messages;
  }

  /** The first packet that fits, now or later; fails when the connection closes without one. */
  async until(fits: (packet: SeenPacket) => boolean, timeoutMs = 3_000): Promise<SeenPacket> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      const found = this.packets.find(fits);
      if (found) return found;
      if (this.isClosed || performance.now() > endMs)
        throw new Error(`no such packet; there were ${JSON.stringify(this.packets)}`);
      await this.#next(endMs);
    }
  }
  async closed(timeoutMs = 3_000): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!this.isClosed) {
      if (performance.now() > endMs) throw new Error("the connection stays open");
      await this.#next(endMs);
    }
  }
  async acknowledged(packetId: number): Promise<SeenPacket> {
    return this.until((packet) => packet.type === packetTypes.puback && packet.packetId === packetId);
  }

  #next(endMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, endMs - performance.now()));
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Reads no more. */
  pause(): void {
    this.#socket.pause();
  }
  destroy(): void {
    this.#socket.destroy();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.closed();
  }
}
