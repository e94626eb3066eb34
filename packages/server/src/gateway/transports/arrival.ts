/** A connection between its accept and its first MQTT byte: who it is from, and the deadline that runs already. */
import type { Socket } from "node:net";
import type { Visit } from "../door.ts";
import type { Watched } from "../keep-alive.ts";
import type { ClientCertificate } from "./certificate.ts";
import type { Peer, Transport } from "./transport.ts";

/** A step of a connection on its way to MQTT. */
export type Stage = (socket: Socket, arrival: Arrival) => void;

export class Arrival implements Peer, Watched {
  readonly #socket: Socket;
  readonly #deadlineMs: number;
  readonly transport: Transport;
  readonly acceptedMs = performance.now();
  address: string;
  port: number;
  certificate: ClientCertificate | undefined;
  visit: Visit | undefined;
  /** It carries MQTT now, or was turned away before it could. */
  isSettled = false;

  constructor(socket: Socket, transport: Transport, deadlineMs: number) {
    this.#socket = socket;
    this.#deadlineMs = deadlineMs;
    this.transport = transport;
    this.address = socket.remoteAddress ?? "";
    this.port = socket.remotePort ?? 0;
  }

  get dueMs(): number {
    return this.acceptedMs + this.#deadlineMs;
  }
  expired(): void {
    this.#socket.destroy();
  }
}
