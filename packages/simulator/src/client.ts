/** An MQTT 5 client for people and scripts: one connection, QoS 0 to 2 in both directions, and nothing that outlives it. */
import { connect, type Socket } from "node:net";
import {
  decodeAcknowledgement,
  decodeConnack,
  decodeDisconnect,
  decodePublishProperties,
  decodeSuback,
  encodeAcknowledgement,
  encodeConnect,
  encodeDisconnect,
  encodePingreq,
  encodePublish,
  encodeSubscribe,
  type FilterRequest,
  PacketScanner,
  type PublishProperties,
  packetTypes,
  type Qos,
  utf8,
} from "@headrace/mqtt";
import { said } from "./connection.ts";

const version = 5;
const keepAliveSeconds = 60;
const { puback, pubrec, pubrel, pubcomp, suback } = packetTypes;

/** The server said no; the code is one of MQTT 5.0 §2.4. */
export class RefusedError extends Error {
  readonly reasonCode: number;
  constructor(what: string, reasonCode: number, reason?: string) {
    super(said(what, reasonCode, reason));
    this.reasonCode = reasonCode;
  }
}

export interface ClientOptions {
  readonly host: string;
  readonly port: number;
  /** Default: the server makes one. */
  readonly clientId?: string;
  readonly username?: string;
  readonly password?: string;
  /** How long the server may take for an answer. Default 10 s. */
  readonly answerMs?: number;
}

/** A message that came. Its bytes are a copy. */
export interface ReceivedMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties: PublishProperties;
}

export interface OutgoingMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain?: boolean;
  readonly properties?: PublishProperties;
}

interface Waiting {
  readonly resolve: (codes: readonly number[]) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class MqttClient implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #answerMs: number;
  readonly #scanner = new PacketScanner({ from: "server", version });
  /** Answers that are due, by type and identifier. */
  readonly #waiting = new Map<string, Waiting>();
  /** QoS 2 messages that came and whose release has not. */
  readonly #received = new Set<number>();
  readonly #pings: NodeJS.Timeout;
  readonly #closed = Promise.withResolvers<Error>();
  readonly #onMessage: (message: ReceivedMessage) => void;
  #end: Error = new Error("the server closed the connection");
  #lastPacketId = 0;
  #packetBytesMax = Number.POSITIVE_INFINITY;
  clientId: string;

  private constructor(options: ClientOptions, onMessage: (message: ReceivedMessage) => void) {
    const { host, port, clientId = "", username, password, answerMs = 10_000 } = options;
    this.clientId = clientId;
    this.#answerMs = answerMs;
    this.#onMessage = onMessage;
    const hello = encodeConnect({
      version,
      clientId,
      keepAliveSeconds,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password: Buffer.from(password) }),
    });
    this.#socket = connect({ host, port, noDelay: true }, () => this.#socket.write(hello));
    this.#socket.on("data", (chunk) => this.#took(chunk));
    this.#socket.on("error", (error) => {
      this.#end = error;
    });
    this.#socket.on("close", () => this.#gone());
    this.#pings = setInterval(() => this.#socket.write(encodePingreq()), keepAliveSeconds * 500).unref();
  }

  /**
   * Connects with a clean start.
   * @throws RefusedError with the reason code of CONNACK, or Error when nobody answers
   */
  static async connect(options: ClientOptions, onMessage: (message: ReceivedMessage) => void): Promise<MqttClient> {
    const client = new MqttClient(options, onMessage);
    try {
      await client.#answer("connack", "CONNACK");
    } catch (error) {
      client.#socket.destroy();
      throw error;
    }
    return client;
  }

  /** Settles with the reason when the connection has ended. */
  get closed(): Promise<Error> {
    return this.#closed.promise;
  }

  /** The reason codes, one for each filter; below 0x80 it is the QoS that was granted. */
  subscribe(
    filters: readonly (Partial<FilterRequest> & Pick<FilterRequest, "filter" | "qos">)[],
  ): Promise<readonly number[]> {
    const packetId = this.#nextId();
    const answer = this.#answer(`${suback}/${packetId}`, "SUBACK");
    this.#socket.write(encodeSubscribe({ version, packetId, filters }));
    return answer;
  }

  /**
   * Settles when the message has its last acknowledgement; with QoS 0 when it is written.
   * @throws RefusedError with the reason code of PUBACK or PUBREC
   */
  async publish({ topic, payload, qos, retain = false, properties = {} }: OutgoingMessage): Promise<number> {
    const packetId = qos === 0 ? 0 : this.#nextId();
    const message = { version, topic: utf8(topic), payload, qos, retain, properties } as const;
    const bytes = encodePublish(qos === 0 ? message : { ...message, packetId });
    if (bytes.byteLength > this.#packetBytesMax) {
      throw new Error(`the message takes ${bytes.byteLength} bytes, and the server at most ${this.#packetBytesMax}`);
    }
    if (qos === 0) {
      await new Promise<void>((resolve, reject) =>
        this.#socket.write(bytes, (error) => (error ? reject(this.#end) : resolve())),
      );
      return 0;
    }
    const first = this.#answer(`${qos === 1 ? puback : pubrec}/${packetId}`, qos === 1 ? "PUBACK" : "PUBREC");
    this.#socket.write(bytes);
    const [code = 0] = await first;
    if (code >= 0x80) throw new RefusedError("the server refused the message", code);
    if (qos === 2) {
      const last = this.#answer(`${pubcomp}/${packetId}`, "PUBCOMP");
      this.#socket.write(encodeAcknowledgement({ version, type: pubrel, packetId }));
      await last;
    }
    return code;
  }

  /** Gives up at once: what waits for an answer fails with this reason. */
  end(reason: string): void {
    this.#end = new Error(reason);
    this.#socket.destroy();
  }

  /** Says DISCONNECT and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#socket.destroyed) this.#socket.end(encodeDisconnect(version));
    const late = setTimeout(() => this.#socket.destroy(), 1_000);
    await this.closed;
    clearTimeout(late);
  }

  #nextId(): number {
    this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
    return this.#lastPacketId;
  }

  #answer(key: string, name: string): Promise<readonly number[]> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(key);
        reject(new Error(`no ${name} within ${this.#answerMs / 1_000} s`));
      }, this.#answerMs);
      this.#waiting.set(key, { resolve, reject, timer });
    });
  }

  #settle(key: string, answer: readonly number[] | Error): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    this.#waiting.delete(key);
    clearTimeout(waiting.timer);
    if (answer instanceof Error) waiting.reject(answer);
    else waiting.resolve(answer);
  }

  #gone(): void {
    clearInterval(this.#pings);
    for (const key of [...this.#waiting.keys()]) this.#settle(key, this.#end);
    this.#closed.resolve(this.#end);
  }

  #took(chunk: Buffer): void {
    try {
      this.#scanner.feed(chunk);
      for (let type = this.#scanner.next(); type !== 0; type = this.#scanner.next()) this.#packet(type);
    } catch (error) {
      this.#end = error instanceof Error ? error : new Error(String(error));
      this.#socket.destroy();
    }
  }

  #packet(type: number): void {
    const { buffer, start, end } = this.#scanner;
    if (type === packetTypes.publish) this.#message();
    else if (type === packetTypes.connack) {
      const { reasonCode, properties } = decodeConnack(version, buffer, start, end);
      this.clientId = properties.assignedClientIdentifier ?? this.clientId;
      this.#packetBytesMax = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY;
      const refused = new RefusedError("the server refused the connection", reasonCode, properties.reasonString);
      this.#settle("connack", reasonCode < 0x80 ? [reasonCode] : refused);
    } else if (type === suback) {
      const { packetId, reasonCodes } = decodeSuback(version, type, buffer, start, end);
      this.#settle(`${suback}/${packetId}`, [...reasonCodes]);
    } else if (type === packetTypes.disconnect) {
      const { reasonCode, properties } = decodeDisconnect(version, buffer, start, end);
      this.#end = new RefusedError("the server ended the connection", reasonCode, properties.reasonString);
      this.#socket.end();
    } else if (type === puback || type === pubrec || type === pubcomp) {
      const { packetId, reasonCode } = decodeAcknowledgement(version, type, buffer, start, end);
      this.#settle(`${type}/${packetId}`, [reasonCode]);
    } else if (type === pubrel) {
      const { packetId } = decodeAcknowledgement(version, type, buffer, start, end);
      this.#received.delete(packetId);
      this.#socket.write(encodeAcknowledgement({ version, type: pubcomp, packetId }));
    }
  }

  #message(): void {
    const { publish } = this.#scanner;
    const { buffer, qos, retain, packetId } = publish;
    if (!(qos === 2 && this.#received.has(packetId))) {
      const properties =
        publish.propertiesEnd > publish.propertiesStart
          ? decodePublishProperties(buffer, publish.propertiesStart, publish.propertiesEnd)
          : {};
      this.#onMessage({
        topic: buffer.toString("utf8", publish.topicStart, publish.topicEnd),
        payload: Buffer.from(buffer.subarray(publish.payloadStart, publish.payloadEnd)),
        qos,
        retain,
        properties,
      });
    }
    if (qos === 2) this.#received.add(packetId);
    if (qos > 0) {
      this.#socket.write(encodeAcknowledgement({ version, type: qos === 1 ? puback : pubrec, packetId }));
    }
  }
}
