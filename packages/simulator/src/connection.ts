/** One MQTT 5 connection over TCP: packets out in one write per turn, packets in as calls. */
import { connect, type Socket } from "node:net";
import {
  decodeAcknowledgement,
  decodeConnack,
  decodeDisconnect,
  encodeConnect,
  encodeDisconnect,
  encodePingreq,
  encodePuback,
  encodeSubscribe,
  PacketScanner,
  packetTypes,
  shortPuback,
} from "@headrace/mqtt";

/** What the owner of a connection hears. `closed` comes last, once, and always. */
export interface ConnectionListener {
  accepted(receiveMaximum: number): void;
  /** PUBACK; a reason code of 0x80 and above is a refusal. */
  acknowledged(packetId: number, reasonCode: number): void;
  /** A message to the device; true acknowledges it. */
  message(payload: Buffer): boolean;
  /** `refused` when the server said no in its CONNACK. */
  closed(reason: string, refused: boolean): void;
}

export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  /** Filter to subscribe to, at QoS 1. */
  readonly filter?: string;
}

const keepAliveSeconds = 60;
/** Without an answer for this long the server counts as gone. */
const silenceMsMax = 15_000;
const version = 5;
/** Inflight messages take the identifiers below it. */
const subscribePacketId = 65_535;
const pingreq = encodePingreq();

export class Connection {
  readonly #socket: Socket;
  readonly #listener: ConnectionListener;
  readonly #scanner = new PacketScanner({ from: "server", version });
  readonly #filter: string | undefined;
  #pending: Uint8Array[] = [];
  #accepted = false;
  #refused = false;
  #reason = "the server closed the connection";
  /** When the server was first asked for something that it has not answered; 0 when it owes nothing. */
  #askedMs = 0;
  #writtenMs = 0;

  constructor(options: ConnectionOptions, listener: ConnectionListener, nowMs: number) {
    this.#listener = listener;
    this.#filter = options.filter;
    this.#askedMs = nowMs;
    this.#writtenMs = nowMs;
    const { clientId, username, password } = options;
    const hello = encodeConnect({
      version,
      clientId,
      keepAliveSeconds,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password: Buffer.from(password) }),
    });
    this.#socket = connect({ host: options.host, port: options.port, noDelay: true }, () => this.#socket.write(hello));
    this.#socket.on("data", (chunk) => this.#received(chunk));
    this.#socket.on("error", (error) => {
      this.#reason = error.message;
    });
    this.#socket.on("close", () => this.#listener.closed(this.#reason, this.#refused));
  }

  /** Takes a packet along with the next {@link flush}. */
  send(packet: Uint8Array): void {
    this.#pending.push(packet);
  }

  /** Writes what was sent since the last flush. */
  flush(nowMs: number): void {
    if (this.#pending.length === 0 || this.#socket.destroyed) return;
    this.#socket.write(this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending));
    this.#pending = [];
    this.#writtenMs = nowMs;
    if (this.#askedMs === 0) this.#askedMs = nowMs;
  }

  /** Keeps the connection alive, and gives it up when the server is silent though it owes an answer. */
  checkAlive(nowMs: number): void {
    if (this.#askedMs !== 0 && nowMs - this.#askedMs > silenceMsMax) {
      this.break(`no answer for ${silenceMsMax / 1000} s`);
    } else if (this.#accepted && nowMs - this.#writtenMs > keepAliveSeconds * 500) {
      this.send(pingreq);
      this.flush(nowMs);
    }
  }

  /** Ends with DISCONNECT; what was flushed before is delivered. */
  end(nowMs: number): void {
    if (this.#accepted) this.send(encodeDisconnect(version));
    this.flush(nowMs);
    this.#socket.end();
  }

  /** Ends at once, as a broken link does. */
  break(reason: string): void {
    this.#reason = reason;
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    this.#askedMs = 0;
    const scanner = this.#scanner;
    try {
      scanner.feed(chunk);
      for (let type = scanner.next(); type !== 0; type = scanner.next()) this.#packet(type);
    } catch (error) {
      this.break(error instanceof Error ? error.message : String(error));
      return;
    }
    this.flush(performance.now());
  }

  #packet(type: number): void {
    const { buffer, start, end } = this.#scanner;
    switch (type) {
      case packetTypes.puback: {
        const short = shortPuback(buffer, start, end);
        const answer =
          short === 0 ? decodeAcknowledgement(version, type, buffer, start, end) : { packetId: short, reasonCode: 0 };
        this.#listener.acknowledged(answer.packetId, answer.reasonCode);
        break;
      }
      case packetTypes.publish:
        this.#publish();
        break;
      case packetTypes.connack:
        this.#connack(buffer, start, end);
        break;
      case packetTypes.disconnect: {
        const { reasonCode, properties } = decodeDisconnect(version, buffer, start, end);
        this.break(said("the server disconnected", reasonCode, properties.reasonString));
      }
    }
  }

  #connack(buffer: Uint8Array, start: number, end: number): void {
    const { reasonCode, properties } = decodeConnack(version, buffer, start, end);
    if (reasonCode >= 0x80) {
      this.#refused = true;
      this.break(said("the server refused the connection", reasonCode, properties.reasonString));
      return;
    }
    this.#accepted = true;
    const filter = this.#filter;
    if (filter !== undefined)
      this.send(encodeSubscribe({ version, packetId: subscribePacketId, filters: [{ filter, qos: 1 }] }));
    this.#listener.accepted(properties.receiveMaximum ?? 65_535);
  }

  #publish(): void {
    const { buffer, payloadStart, payloadEnd, qos, packetId } = this.#scanner.publish;
    const taken = this.#listener.message(buffer.subarray(payloadStart, payloadEnd));
    if (qos === 0 || !taken) return;
    const puback = new Uint8Array(4);
    encodePuback(puback, 0, packetId);
    this.send(puback);
  }
}

/** A reason code in words that can be looked up. */
export const said = (what: string, reasonCode: number, reasonString: string | undefined): string =>
  `${what}: 0x${reasonCode.toString(16).padStart(2, "0")}${reasonString === undefined ? "" : ` ${reasonString}`}`;
