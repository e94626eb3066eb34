/** Client ids in use: a second connection under the same id ends the first (MQTT 5.0 §3.1.4). */
import { randomUUID } from "node:crypto";
import { reasonCodes } from "@headrace/mqtt";
import type { Listed } from "./listed.ts";
import type { Receiver } from "./receiver.ts";

/** A connection that has been let in. */
export interface Client extends Receiver {
  /** False while its session is read and while it closes. */
  readonly isConnected: boolean;
  view(): Listed;
  end(reasonCode: number, reason: string): void;
}

export class Clients {
  readonly #byId = new Map<string, Client>();
  /** No wills are published then: the devices have not gone, the node has. */
  isShuttingDown = false;
  /** Called with each id whose connection is gone. */
  onReleased: ((clientId: string) => void) | undefined;

  get count(): number {
    return this.#byId.size;
  }

  get(clientId: string): Client | undefined {
    return this.#byId.get(clientId);
  }

  /** Those whose session is there. */
  *connected(): Generator<Client> {
    for (const client of this.#byId.values()) if (client.isConnected) yield client;
  }

  connectedAs(clientId: string): Client | undefined {
    const client = this.#byId.get(clientId);
    return client?.isConnected ? client : undefined;
  }

  newId(): string {
    return `hr-${randomUUID()}`;
  }

  claim(client: Client): void {
    const { clientId } = client;
    this.takeOver(clientId);
    this.#byId.set(clientId, client);
  }

  /** Ends the connection that holds this id, if there is one. */
  takeOver(clientId: string): void {
    const before = this.#byId.get(clientId);
    this.#byId.delete(clientId);
    before?.end(reasonCodes.sessionTakenOver, "another connection uses this client id");
  }

  release(client: Client): void {
    if (this.#byId.get(client.clientId) !== client) return;
    this.#byId.delete(client.clientId);
    this.onReleased?.(client.clientId);
  }

  endAll(reasonCode: number, reason: string): void {
    for (const client of [...this.#byId.values()]) client.end(reasonCode, reason);
  }
}
