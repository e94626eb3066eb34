/** Whether a client may connect: asked with its password, or over several steps with extended authentication (MQTT 5.0 §4.12). */
import { setTimeout as sleep } from "node:timers/promises";
import { type ConnectRequest, reasonCodes, type ServerSession, type SessionAction } from "@headrace/mqtt";
import type { Visit } from "./door.ts";
import type { Held } from "./fan-out-message.ts";
import { type Exchange, unknownMethod } from "./mechanism.ts";
import type { Authentication } from "./policy.ts";
import type { Shared } from "./shared.ts";
import type { Peer } from "./transports/transport.ts";

export type Admitted = Extract<Authentication, { readonly identity: string | undefined }>;

export interface AdmissionParts {
  readonly shared: Shared;
  readonly session: ServerSession<Held>;
  readonly run: (actions: readonly SessionAction[]) => void;
  readonly identity: () => string | undefined;
  readonly peer: Peer;
  readonly visit: Visit;
  /** Lets the client in; settles when its session is there. */
  readonly admit: (connect: ConnectRequest, answer: Admitted) => Promise<void> | undefined;
  /** Reads nothing of the client until then. */
  readonly wait: (done: Promise<void>) => void;
  readonly isGone: () => boolean;
}

export class Admission {
  readonly #parts: AdmissionParts;
  #exchange: Exchange | undefined;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** CONNECT has come. What is too much is refused before anything that costs more is done for it. */
  begin(connect: ConnectRequest): void {
    const { shared, session, visit, run, isGone } = this.#parts;
    const { door, ingest, limits } = shared;
    const refuse = (reasonCode: number, reason: string): void => run(session.refuse(reasonCode, reason));
    if (visit.isOver) {
      refuse(reasonCodes.quotaExceeded, `${limits.connectionsMax} connections are open already`);
      return;
    }
    if (ingest.fullForMs(performance.now()) > limits.overloadedAfterMs) {
      refuse(reasonCodes.serverBusy, "the node has no room for messages");
      return;
    }
    const waitMs = door.turn();
    if (waitMs === undefined) refuse(reasonCodes.connectionRateExceeded, "too many clients connect at once");
    else if (waitMs === 0) this.#wait(this.#authenticate(connect));
    else this.#wait(sleep(waitMs).then(() => (isGone() ? undefined : this.#authenticate(connect))));
  }

  #authenticate(connect: ConnectRequest): Promise<void> | undefined {
    const { authenticationMethod: method, authenticationData } = connect.properties;
    if (method !== undefined) return this.#step(method, authenticationData, true);
    const { clientId, username, password } = connect;
    const { shared, peer } = this.#parts;
    const answer = shared.authenticate({ clientId, username, password, peer });
    return answer instanceof Promise ? this.#later(connect, answer) : this.#decide(connect, answer);
  }

  /** One step of a mechanism: before CONNACK, or again while connected. */
  step(method: string, data: Uint8Array | undefined, begins: boolean): void {
    this.#wait(this.#step(method, data, begins));
  }

  #step(method: string, data: Uint8Array | undefined, begins: boolean): Promise<void> | undefined {
    const { shared, session, run, identity } = this.#parts;
    if (begins) this.#exchange = shared.mechanisms?.get(method)?.();
    const step = this.#exchange?.step(data) ?? unknownMethod;
    if ("challenge" in step) {
      run(session.challenge(step.challenge));
      return undefined;
    }
    this.#exchange = undefined;
    if (session.state !== "connected") return this.#decide(session.connectRequest, step);
    if ("reasonCode" in step) run(session.disconnect(step.reasonCode, step.reason));
    else if (step.identity !== identity()) {
      run(session.disconnect(reasonCodes.notAuthorized, "another identity than before (§4.12.1)"));
    } else run(session.authenticated(step.data));
    return undefined;
  }

  #wait(done: Promise<void> | undefined): void {
    if (done !== undefined) this.#parts.wait(done);
  }

  async #later(connect: ConnectRequest, answer: Promise<Authentication>): Promise<void> {
    const failed = { reasonCode: reasonCodes.unspecifiedError, reason: "authentication failed" };
    const settled = await answer.catch(() => failed);
    if (!this.#parts.isGone()) await this.#decide(connect, settled);
  }

  #decide(connect: ConnectRequest, answer: Authentication): Promise<void> | undefined {
    const { session, run, shared, visit } = this.#parts;
    if (!("reasonCode" in answer)) {
      visit.authenticated();
      if (!shared.flapping.isHeldOff(connect.clientId, answer.identity)) return this.#parts.admit(connect, answer);
      run(session.refuse(reasonCodes.connectionRateExceeded, "this client connects too often"));
      return undefined;
    }
    run(session.refuse(answer.reasonCode, answer.reason, answer.serverReference));
    return undefined;
  }
}
