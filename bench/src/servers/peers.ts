/** The brokers that Headrace is compared with. */
import { aedes } from "./aedes.ts";
import { mosquitto } from "./mosquitto.ts";
import { nats } from "./nats.ts";
import type { Absent, Peer, PeerName } from "./peer.ts";

const finders: Record<PeerName, (say: (line: string) => void) => readonly (Peer | Absent)[]> = {
  mosquitto,
  aedes,
  nats,
};

/** Those of `names` that can be started here, and why the others cannot. */
export function findPeers(
  names: readonly PeerName[],
  say: (line: string) => void,
): { readonly peers: readonly Peer[]; readonly absent: readonly Absent[] } {
  const found = names.flatMap((name) => finders[name](say));
  return {
    peers: found.filter((one): one is Peer => "start" in one),
    absent: found.filter((one): one is Absent => "reason" in one),
  };
}
