/** Extended authentication (MQTT 5.0 §4.12): mechanisms that need more than a password. */
import { reasonCodes } from "@headrace/mqtt";
import type { Authentication } from "./policy.ts";

/** One run of a mechanism with one client. */
export interface Exchange {
  /** Takes what the client said and answers with a challenge, an identity, or a refusal. Must not throw. */
  step(data: Uint8Array | undefined): { readonly challenge: Uint8Array } | Authentication;
}

/** Mechanisms by the name that a client gives as Authentication Method; each call begins a run. */
export type Mechanisms = ReadonlyMap<string, () => Exchange>;

export const unknownMethod: Authentication = {
  reasonCode: reasonCodes.badAuthenticationMethod,
  reason: "there is no such authentication method",
};
