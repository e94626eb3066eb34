/** Who may do what. Asked when a topic is first used by a connection, and again at every delivery (P9). */
import { reasonCodes } from "@headrace/mqtt";
import type { Peer } from "./transports/transport.ts";

export type PolicyAction = "publish" | "subscribe" | "receive";

/**
 * Answers why something is refused, or undefined when it is allowed.
 * @param topic a topic name, or the filter for `subscribe`
 */
export type Authorize = (
  action: PolicyAction,
  identity: string | undefined,
  clientId: string,
  topic: string,
) => string | undefined;

/** What a client says about itself in CONNECT, and what its transport says about it. */
export interface Credentials {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly peer: Peer;
}

/** The identity of a client (undefined: anonymous), or the MQTT 5 reason code of the refusal. */
export type Authentication =
  | {
      readonly identity: string | undefined;
      /** The last word of extended authentication. */
      readonly data?: Uint8Array | undefined;
    }
  | {
      readonly reasonCode: number;
      readonly reason: string;
      /** Where to go instead, with 0x9C or 0x9D (MQTT 5.0 §4.11). */
      readonly serverReference?: string;
    };

export type Authenticate = (credentials: Credentials) => Authentication | Promise<Authentication>;

const commandTopic = /^devices\/[^/]+\/commands(\/|$)/;
const acknowledgementTopic = /^devices\/[^/]+\/commands\/[^/]+\/ack$/;

/** The policy of a development node on loopback: everybody may do everything but send commands, which only functions do, and write `$` topics. */
export const openPolicy: Authorize = (action, _identity, _clientId, topic) => {
  if (action !== "publish") return undefined;
  if (topic.startsWith("$")) return "topics that begin with $ belong to the node";
  if (commandTopic.test(topic) && !acknowledgementTopic.test(topic))
    return "commands are sent by functions; a device publishes only their ack";
  return undefined;
};

/** Everybody is nobody in particular. Who shows a client certificate that does not count is refused all the same. */
export const anonymous: Authenticate = ({ peer: { certificate } }) =>
  certificate?.problem === undefined
    ? { identity: undefined }
    : {
        reasonCode: reasonCodes.notAuthorized,
        reason: `the client certificate does not count: ${certificate.problem}`,
      };
