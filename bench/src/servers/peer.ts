/** Another broker under the same load. */
import type { Server } from "./server.ts";

export const peerNames = ["mosquitto", "aedes", "nats"] as const;
export type PeerName = (typeof peerNames)[number];

/** A broker that can be started here, in one configuration. */
export interface Peer {
  /** Its name in the result: letters only. */
  readonly key: string;
  /** Its name in tables. */
  readonly title: string;
  readonly version: string;
  /** What differs from its defaults, one setting each. */
  readonly configuration: readonly string[];
  /** What an acknowledgement of it says. */
  readonly promise: string;
  /** Starts it with its files in `folder`. */
  start(folder: string): Promise<Server>;
}

/** Why a broker cannot be measured here. */
export interface Absent {
  readonly key: string;
  readonly reason: string;
}
