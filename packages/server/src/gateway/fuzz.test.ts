// Goal (M27): mutations of valid sessions, all packet types, both versions, never crash the gateway nor disturb anybody else. Method: seeded mutations of a valid session over real sockets;
// a witness publishes and receives all the while. HEADRACE_FUZZ_RUNS sets the number of mutations (default 120 per version).
import { connect } from "node:net";
import {
  encodeAcknowledgement,
  encodeAuth,
  encodeConnect,
  encodeDisconnect,
  encodePingreq,
  encodePublish,
  encodeSubscribe,
  encodeUnsubscribe,
  type ProtocolVersion,
  packetTypes,
  utf8,
} from "@headrace/mqtt";
import { expect, test } from "vitest";
import { startTestNode } from "../../test/gateway-node.ts";
import { RawClient } from "../../test/raw-client.ts";

const runs = Number(process.env.HEADRACE_FUZZ_RUNS ?? 120);

/** Numbers that a seed decides. */
const randomOf = (seed: number) => {
  let state = seed >>> 0;
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
};

const validSession = (version: ProtocolVersion): Uint8Array[] => {
  const acknowledge = (type: number): Uint8Array => encodeAcknowledgement({ version, type, packetId: 3 });
  const publish = (qos: 0 | 1 | 2, packetId: number): Uint8Array =>
    encodePublish({
      version,
      topic: utf8("fuzz/a"),
      payload: utf8("x"),
      qos,
      packetId,
      properties: { contentType: "t" },
    });
  return [
    encodeConnect({ version, clientId: "fuzzed", username: "u", password: utf8("p") }),
    encodeSubscribe({ version, packetId: 1, filters: [{ filter: "fuzz/#", qos: 2 }] }),
    publish(0, 0),
    publish(1, 2),
    publish(2, 3),
    acknowledge(packetTypes.pubrel),
    acknowledge(packetTypes.puback),
    acknowledge(packetTypes.pubrec),
    acknowledge(packetTypes.pubcomp),
    encodeUnsubscribe({ version, packetId: 4, filters: ["fuzz/#"] }),
    encodePingreq(),
    ...(version === 5 ? [encodeAuth(0x18, { authenticationMethod: "M" })] : []),
    encodeDisconnect(version),
  ];
};

/** One valid session with some of its packets changed, cut, doubled, swapped or removed. */
const mutated = (version: ProtocolVersion, seed: number): Buffer => {
  const random = randomOf(seed);
  // Without the last two packets: what ends a valid session would hide whether a mutation did.
  const packets: Uint8Array[] = validSession(version)
    .slice(0, -2)
    .map((packet): Uint8Array => Uint8Array.from(packet));
  for (let edits = 1 + random(3); edits > 0; edits -= 1) {
    const at = random(packets.length);
    const packet = packets[at] as Uint8Array;
    const kind = random(5);
    if (kind === 0) packet[random(packet.length)] = random(256);
    else if (kind === 1) packet[random(packet.length)] ^= 1 << random(8);
    else if (kind === 2) packets[at] = packet.subarray(0, random(packet.length));
    else if (kind === 3) packets.splice(random(packets.length), 0, packet);
    else packets.splice(at, 1);
  }
  return Buffer.concat(packets);
};

/** Whether the server closes a connection on which these bytes arrive; a PINGREQ behind them tells one that does not. */
const closes = (port: number, bytes: Buffer): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const settle = (isClosed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isClosed);
    };
    // A server that waits for the rest of a packet answers nothing and closes nothing.
    const timer = setTimeout(() => settle(false), 150);
    socket.on("error", () => settle(true));
    socket.on("close", () => settle(true));
    socket.resume();
    socket.write(bytes);
  });

test.each([4, 5] as const)("M27: version %i: mutated sessions harm nobody", async (version) => {
  await using node = await startTestNode();
  await using witness = await RawClient.connect(node.port, { clientId: "witness", version });
  await witness.subscribe("raw/witness", 1);
  for (let seed = 1; seed <= runs; seed += 20) {
    const batch = Array.from({ length: Math.min(20, runs - seed + 1) }, (_, index) => mutated(version, seed + index));
    await Promise.all(batch.map((bytes) => closes(node.port, bytes)));
    witness.publish("raw/witness", String(seed), { packetId: 1 });
    await witness.until(({ payload }) => payload === String(seed), 10_000);
    witness.acknowledge(packetTypes.puback, witness.messages.at(-1)?.packetId ?? 0);
  }
  await expect.poll(() => node.gateway.stats().connections, { timeout: 10_000 }).toBe(1);
});
