/** Whether a client may connect: asked with its password, or over several steps with extended authentication (MQTT 5.0 §4.12). */
import { type ConnectRequest, reasonCodes, type ServerSession, type SessionAction } from "@headrace/mqtt";
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

  begin(connect: ConnectRequest): void {
    const { authenticationMethod: method, authenticationData } = connect.properties;
    if (method !== undefined) {
      this.step(method, authenticationData, true);
      return;
    }
    const { clientId, username, password } = connect;
    const { shared, peer } = this.#parts;
    const answer = shared.authenticate({ clientId, username, password, peer });
    this.#wait(answer instanceof Promise ? this.#later(connect, answer) : this.#decide(connect, answer));
  }

  /** One step of a mechanism: before CONNACK, or again while connected. */
  step(method: string, data: Uint8Array | undefined, begins: boolean): void {
    const { shared, session, run, identity } = this.#parts;
    if (begins) this.#exchange = shared.mechanisms?.get(method)?.();
    const step = this.#exchange?.step(data) ?? unknownMethod;
    if ("challenge" in step) {
      run(session.challenge(step.challenge));
      return;
    }
    this.#exchange = undefined;
    if (session.state !== "connected") this.#wait(this.#decide(session.connectRequest, step));
    else if ("reasonCode" in step) run(session.disconnect(step.reasonCode, step.reason));
    else if (step.identity !== identity()) {
      run(session.disconnect(reasonCodes.notAuthorized, "another identity than before (§4.12.1)"));
    } else run(session.authenticated(step.data));
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
    if (!("reasonCode" in answer)) return this.#parts.admit(connect, answer);
    const { session, run } = this.#parts;
    run(session.refuse(answer.reasonCode, answer.reason, answer.serverReference));
    return undefined;
  }
}
