// Goal: the life of a connection as the specification tells it, seen as actions. Method: a test edge that wires scanner,
// topic memo and session as a server does.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { closeCode, Edge, sent } from "../test/edge.ts";
import {
  decodeConnack,
  encodeAcknowledgement,
  encodeAuth,
  encodeConnect,
  encodeDisconnect,
  encodePingreq,
  encodePublish,
  encodeSubscribe,
  encodeUnsubscribe,
  MqttError,
  Outbox,
  offered,
  type ProtocolVersion,
  packetTypes,
  ServerSession,
  type SessionAction,
  type SubscribeAction,
  utf8,
} from "./index.ts";

const connect = (version: ProtocolVersion, extra = {}): Uint8Array =>
  encodeConnect({ version, clientId: "d1", keepAliveSeconds: 60, ...extra });

const publish = (version: ProtocolVersion, qos: 0 | 1 | 2, packetId = 1): Uint8Array =>
  encodePublish({ version, topic: utf8("a/b"), payload: utf8("x"), qos, packetId });

function connackProperties(actions: readonly SessionAction[]): object {
  const bytes = Buffer.from(sent(actions)[0] as string, "hex");
  return decodeConnack(5, bytes, 2, bytes.length).properties;
}

describe("connecting", () => {
  test("3.1.1: CONNACK without properties", () => {
    const edge = new Edge();
    const actions = edge.receive(connect(4));
    expect(actions.map(({ type }) => type)).toEqual(["authenticate", "send", "connected"]);
    expect(sent(actions)).toEqual(["20020000"]);
    expect(edge.session.silenceMaxMs).toBe(90_000);
  });

  test("[v5 3.1.2-28, 4.12.0-6] 5.0: CONNACK tells what this server offers", () => {
    expect(connackProperties(new Edge().receive(connect(5)))).toEqual({
      receiveMaximum: 1_000,
      topicAliasMaximum: 32,
      retainAvailable: true,
      maximumPacketSize: 262_144,
      wildcardSubscriptionAvailable: true,
      subscriptionIdentifiersAvailable: true,
      sharedSubscriptionAvailable: false,
    });
  });

  test("5.0: no client id gets one, a keep alive that is off or too long is lowered", () => {
    const edge = new Edge({ keepAliveMaxSeconds: 100 });
    const actions = edge.receive(connect(5, { clientId: "", keepAliveSeconds: 0 }));
    expect(connackProperties(actions)).toMatchObject({
      assignedClientIdentifier: "made-1",
      serverKeepAliveSeconds: 100,
    });
    expect(edge.session.clientId).toBe("made-1");
    expect(edge.session.silenceMaxMs).toBe(150_000);
  });

  test("3.1.1: a keep alive that is off is bounded by the idle limit", () => {
    const edge = new Edge({ idleMaxSeconds: 500 });
    edge.receive(connect(4, { keepAliveSeconds: 0 }));
    expect(edge.session.silenceMaxMs).toBe(500_000);
  });

  test("no client id and no clean session: 2 in 3.1.1, an assigned one in 5.0", () => {
    const options = { clientId: "", clean: false };
    expect(sent(new Edge().receive(connect(4, options)))).toEqual(["20020002"]);
    expect(connackProperties(new Edge().receive(connect(5, options)))).toMatchObject({
      assignedClientIdentifier: "made-1",
    });
  });

  test("another protocol level: 1 below 4, 0x84 above 5; another protocol: no answer", () => {
    const packet = Buffer.from(connect(4));
    packet[8] = 3;
    expect(sent(new Edge().receive(packet))).toEqual(["20020001"]);
    packet[8] = 6;
    expect(sent(new Edge().receive(packet))[0]?.slice(4, 8)).toBe("0084");
    packet[5] = 0x58;
    const actions = new Edge().receive(packet);
    expect([sent(actions), closeCode(actions)]).toEqual([[], 0x84]);
  });

  test("the edge refuses: 5 in 3.1.1, 0x87 in 5.0, and no will", () => {
    for (const version of [4, 5] as const) {
      const session = new ServerSession({ generateClientId: () => "x" });
      const will = { topic: "w", payload: utf8("x"), qos: 0 as const, retain: false };
      const packet = connect(version, { will });
      session.onPacket({ type: 1, flags: 0, buffer: packet, start: 2, end: packet.length });
      const actions = session.refuse(0x87, "unknown device");
      expect(sent(actions)[0]?.slice(4, 8)).toBe(version === 4 ? "0005" : "0087");
      expect([session.state, session.end().will]).toEqual(["ended", undefined]);
    }
  });

  test("[v5 4.12.0-1] extended authentication: 0x8C in CONNECT and as AUTH", () => {
    const properties = { authenticationMethod: "SCRAM" };
    expect(closeCode(new Edge().receive(connect(5, { properties })))).toBe(0x8c);
    const auth = encodeAuth(0x19, { authenticationMethod: "SCRAM" });
    expect(closeCode(new Edge().receive(connect(5), auth))).toBe(0x82);
  });
});

describe("connected", () => {
  test("PINGREQ is answered, PUBLISH reaches the edge, DISCONNECT drops the will", () => {
    const will = { topic: "w", payload: utf8("x"), qos: 1 as const, retain: true };
    const edge = new Edge();
    edge.receive(connect(5, { will }));
    expect(sent(edge.receive(publish(5, 0), publish(5, 1), encodePingreq()))).toEqual(["d000"]);
    expect(edge.published).toEqual(["a/b", "a/b"]);
    expect(edge.session.unacknowledgedCount).toBe(1);
    expect(closeCode(edge.receive(encodeDisconnect(5)))).toBe(0);
    expect(edge.session.end().will).toBeUndefined();
  });

  test("the will is due once after a lost connection, an error, or DISCONNECT 0x04", () => {
    const will = { topic: "w", payload: utf8("x"), qos: 1 as const, retain: true };
    for (const last of [[], [connect(5)], [encodeDisconnect(5, 4)]]) {
      const edge = new Edge();
      edge.receive(connect(5, { will }), ...last);
      expect(edge.session.end().will).toMatchObject(will);
      expect(edge.session.end().will).toBeUndefined();
    }
  });

  test.each([4, 5] as const)(
    "QoS 2 from a client, version %i: taken once until PUBREL, then the identifier is free",
    (version) => {
      const edge = new Edge();
      edge.receive(connect(version), publish(version, 2, 7), publish(version, 2, 7));
      expect([edge.published, edge.session.unacknowledgedCount]).toEqual([["a/b"], 1]);
      const pubrel = encodeAcknowledgement({ version, type: packetTypes.pubrel, packetId: 7 });
      expect(edge.receive(pubrel)).toMatchObject([{ type: "released", packetId: 7 }]);
      expect(sent(edge.receive(pubrel))).toEqual([version === 5 ? "7003000792" : "70020007"]);
      edge.receive(publish(version, 2, 7));
      expect(edge.published).toEqual(["a/b", "a/b"]);
    },
  );

  test.each([4, 5] as const)(
    "QoS 2 to a client, version %i: PUBREC, PUBREL, PUBCOMP; the window is free then",
    (version) => {
      const edge = new Edge();
      edge.receive(connect(version));
      const { outbox } = edge.session;
      expect(outbox.offer("m", 10, 2)).toBe(1);
      const step = (type: number): string[] =>
        sent(edge.receive(encodeAcknowledgement({ version, type, packetId: 1 })));
      expect(step(packetTypes.pubrec)).toEqual(["62020001"]);
      expect(step(packetTypes.pubrec)).toEqual(["62020001"]);
      expect([outbox.inFlightCount, outbox.isReceived(1)]).toEqual([1, true]);
      expect(step(packetTypes.pubcomp)).toEqual([]);
      expect(outbox.inFlightCount).toBe(0);
    },
  );

  test("a session goes on over another connection: what is in flight comes again in its order, then what waits", () => {
    const edge = new Edge();
    edge.receive(connect(5, { properties: { receiveMaximum: 3 } }));
    const { session } = edge.session;
    for (const [name, qos] of [
      ["one", 1],
      ["two", 2],
      ["three", 2],
      ["four", 1],
    ] as const)
      session.outbox.offer(name, 10, qos);
    edge.receive(encodeAcknowledgement({ version: 5, type: packetTypes.pubrec, packetId: 2 }));
    edge.session.end();
    session.outbox.pause();
    expect([session.outbox.offer("five", 10, 1), session.outbox.take()]).toEqual([offered.queued, undefined]);
    const next = new Edge();
    next.holdsBack = true;
    next.receive(connect(5, { clean: false }));
    const actions = next.session.accept({ session, sessionPresent: true });
    expect(sent(actions)[0]?.slice(4, 8)).toBe("0100");
    const taken: unknown[] = [];
    for (let out = session.outbox.take(); out; out = session.outbox.take())
      taken.push([out.message, out.packetId, out.step]);
    expect(taken).toEqual([
      ["one", 1, "again"],
      ["two", 2, "release"],
      ["three", 3, "again"],
      ["four", 4, "publish"],
      ["five", 5, "publish"],
    ]);
  });

  test("[v5 3.3.2-7, 3.3.2-12] topic aliases: set with a topic, used without, forgotten with the connection", () => {
    const edge = new Edge();
    edge.receive(connect(5));
    const aliased = (topic: string, topicAlias: number) =>
      encodePublish({ version: 5, topic: utf8(topic), payload: utf8("x"), qos: 0, properties: { topicAlias } });
    edge.receive(aliased("a/b", 3), aliased("", 3), aliased("c", 3), aliased("", 3), publish(5, 0));
    expect(edge.published).toEqual(["a/b", "a/b", "c", "c", "a/b"]);
    expect(closeCode(edge.receive(aliased("", 4)))).toBe(0x94);
    const other = new Edge();
    other.receive(connect(5));
    expect(closeCode(other.receive(aliased("", 3)))).toBe(0x94);
  });

  test("[v5 4.12.0-2, 4.12.0-3, 4.12.0-5, 4.12.1-1, 3.1.2-30] extended authentication: challenges before CONNACK, again while connected, always with the method", () => {
    const edge = new Edge({ extendedAuthentication: true });
    edge.holdsBack = true;
    const properties = { authenticationMethod: "M", authenticationData: utf8("1") };
    expect(edge.receive(connect(5, { properties }))[0]).toMatchObject({ type: "authenticate" });
    expect(sent(edge.session.challenge(utf8("2")))).toEqual([
      Buffer.from(encodeAuth(0x18, { ...properties, authenticationData: utf8("2") })).toString("hex"),
    ]);
    expect(edge.receive(encodeAuth(0x18, properties))).toMatchObject([{ type: "auth", method: "M", isAgain: false }]);
    expect(connackProperties(edge.session.accept({ authenticationData: utf8("3") }))).toMatchObject({
      authenticationMethod: "M",
      authenticationData: utf8("3"),
    });
    expect(edge.receive(encodeAuth(0x19, properties))).toMatchObject([{ type: "auth", isAgain: true }]);
    expect(closeCode(edge.receive(encodeAuth(0x19, { authenticationMethod: "X" })))).toBe(0x8c);
    const early = new Edge({ extendedAuthentication: true });
    early.holdsBack = true;
    expect(closeCode(early.receive(connect(5, { properties }), encodePingreq()))).toBe(0x82);
  });

  test("[v4 3.1.2-24] [v5 3.1.2-22, 3.2.2-22] a silent client is disconnected after one and a half keep alives", () => {
    const edge = new Edge();
    edge.receive(connect(5));
    expect(edge.session.onTick(1_000, 90_999)).toEqual([]);
    expect(closeCode(edge.session.onTick(1_000, 91_000))).toBe(0x8d);
    expect(edge.session.onTick(1_000, 99_000)).toEqual([]);
  });

  test("[v5 3.1.2-29] a refused PUBLISH: PUBACK with the code in 5.0, the reason only if wanted, close in 3.1.1", () => {
    const properties = { requestProblemInformation: false };
    const edges = [new Edge(), new Edge()] as const;
    edges[0].receive(connect(5), publish(5, 1));
    edges[1].receive(connect(5, { properties }), publish(5, 1));
    expect(sent(edges[0].session.refusePublish(1, 0x97, "full"))).toEqual(["400b0001970" + "71f000466756c6c"]);
    expect(sent(edges[1].session.refusePublish(1, 0x97, "full"))).toEqual(["4003000197"]);
    expect(edges[0].session.unacknowledgedCount).toBe(0);
    const old = new Edge();
    old.receive(connect(4), publish(4, 1));
    expect(closeCode(old.session.refusePublish(1, 0x97, "full"))).toBe(0x97);
  });
});

describe("subscribing", () => {
  const isSubscribe = (action: SessionAction): action is SubscribeAction => action.type === "subscribe";

  function subscribe(edge: Edge, filters: { filter: string; qos?: 0 | 1 | 2; retainHandling?: 0 | 1 | 2 }[]) {
    const version = edge.session.version === 4 ? 4 : 5;
    const properties = { subscriptionIdentifiers: [5] };
    const actions = edge.receive(encodeSubscribe({ version, packetId: 3, filters, properties }));
    return actions.find(isSubscribe) as SubscribeAction;
  }

  test("QoS 2 is granted, shared is 0x9E where it is not offered, the policy refuses, retained follows the handling", () => {
    const edge = new Edge();
    edge.receive(connect(5));
    const filters = [
      { filter: "a/#", qos: 2 as const },
      { filter: "$share/g/a", qos: 1 as const },
      { filter: "secret", qos: 1 as const },
      { filter: "b", retainHandling: 1 as const },
    ];
    const action = subscribe(edge, filters);
    const codes = action.requests.map(({ reasonCode, filter }) => (filter === "secret" ? 0x87 : reasonCode));
    const { bytes, granted } = edge.session.completeSubscribe(action, codes);
    expect(Buffer.from(bytes).toString("hex")).toBe("90070003" + "00" + "029e8700");
    expect(
      granted.map(({ subscription, sendRetained }) => [subscription.filter, subscription.identifier, sendRetained]),
    ).toEqual([
      ["a/#", 5, true],
      ["b", 5, true],
    ]);
    const again = edge.session.completeSubscribe(subscribe(edge, [{ filter: "b", retainHandling: 1 }]));
    expect(again.granted[0]).toMatchObject({ sendRetained: false, replaced: { filter: "b" } });
  });

  test("UNSUBSCRIBE: 0x00 for what was there, 0x11 for what was not; end returns the rest", () => {
    const edge = new Edge();
    edge.receive(connect(5));
    edge.session.completeSubscribe(subscribe(edge, [{ filter: "a" }, { filter: "b" }]));
    const actions = edge.receive(encodeUnsubscribe({ version: 5, packetId: 4, filters: ["a", "x"] }));
    expect(actions[0]).toMatchObject({ type: "unsubscribe", subscriptions: [{ filter: "a" }] });
    expect(sent(actions)).toEqual(["b0050004000011"]);
    expect([...edge.session.subscriptions.values()].map(({ filter }) => filter)).toEqual(["b"]);
  });

  test("M12: subscriptions are bounded per session and per packet", () => {
    const edge = new Edge({ subscriptionsMax: 2 });
    edge.receive(connect(5));
    edge.session.completeSubscribe(subscribe(edge, [{ filter: "a" }]));
    const action = subscribe(edge, [{ filter: "b" }, { filter: "c" }]);
    expect(action.requests.map(({ reasonCode }) => reasonCode)).toEqual([0, 0x97]);
    const filters = [{ filter: "1" }, { filter: "2" }, { filter: "3" }];
    expect(closeCode(edge.receive(encodeSubscribe({ version: 5, packetId: 3, filters })))).toBe(0x97);
  });
});

describe("Outbox", () => {
  const options = { receiveMaximum: 2, maximumPacketSize: 100, queueMessagesMax: 3, queueBytesMax: 200 };

  test("the window is kept, waiting messages leave in order as PUBACKs arrive", () => {
    const outbox = new Outbox<string>(options);
    expect(["a", "b", "c", "d"].map((name) => outbox.offer(name, 10, 1))).toEqual([1, 2, -1, -1]);
    expect(outbox.offer("zero", 10, 0)).toBe(offered.sendQos0);
    expect(outbox.take()).toBeUndefined();
    expect(outbox.release(1)).toBe("a");
    expect(outbox.release(1)).toBeUndefined();
    expect(outbox.take()).toEqual({ message: "c", packetId: 3, step: "publish" });
    expect(outbox.take()).toBeUndefined();
    outbox.release(2);
    expect(outbox.take()).toEqual({ message: "d", packetId: 4, step: "publish" });
    expect([outbox.queuedCount, outbox.queuedBytes, outbox.inFlightCount]).toEqual([0, 0, 2]);
  });

  test("at its bound it drops the oldest QoS 0 and refuses when only QoS 1 is left", () => {
    const outbox = new Outbox<string>(options);
    outbox.writable = false;
    expect([outbox.offer("z1", 10, 0), outbox.offer("q1", 10, 1), outbox.offer("z2", 10, 0)]).toEqual([-1, -1, -1]);
    expect([outbox.offer("q2", 10, 1), outbox.offer("q3", 10, 1)]).toEqual([-1, -1]);
    expect([outbox.offer("q4", 10, 1), outbox.offer("z3", 10, 0)]).toEqual([offered.refused, offered.refused]);
    expect(outbox.offer("big", 101, 0)).toBe(offered.tooLarge);
    expect([outbox.droppedCount, outbox.refusedCount]).toEqual([2, 3]);
    outbox.writable = true;
    expect([outbox.take()?.message, outbox.take()?.message, outbox.take()]).toEqual(["q1", "q2", undefined]);
  });

  test("A12: what is in flight is bounded in bytes as well as in number; one message may be larger", () => {
    const outbox = new Outbox<string>({ ...options, receiveMaximum: 65_535, inFlightBytesMax: 50 });
    expect(["a", "b", "c"].map((name) => outbox.offer(name, 30, 1))).toEqual([1, 2, offered.queued]);
    expect([outbox.inFlightBytes, outbox.take()]).toEqual([60, undefined]);
    outbox.release(1);
    expect(outbox.take()).toEqual({ message: "c", packetId: 3, step: "publish" });
    expect(new Outbox<string>({ ...options, inFlightBytesMax: 1 }).offer("large", 100, 2)).toBe(1);
  });

  test("A12: all outboxes together are bounded: above it each keeps its floor, and what ends is given back", () => {
    const budget = { bytes: 0, bytesMax: 100, floorBytes: 20 };
    const [greedy, modest] = [new Outbox<string>({ ...options, budget }), new Outbox<string>({ ...options, budget })];
    expect(["a", "b", "c"].map((name) => greedy.offer(name, 60, 1))).toEqual([1, 2, offered.refused]);
    expect(budget.bytes).toBe(120);
    expect([modest.offer("e", 20, 1), modest.offer("f", 20, 1), modest.offer("g", 20, 1)]).toEqual([
      1,
      offered.queued,
      offered.refused,
    ]);
    greedy.release(1);
    greedy.pause();
    expect(budget.bytes).toBe(40);
    greedy.resume(options);
    expect(budget.bytes).toBe(100);
    for (const outbox of [greedy, modest]) outbox.pause();
    expect(budget.bytes).toBe(0);
  });

  test("packet identifiers wrap and skip those in flight", () => {
    const outbox = new Outbox<number>({ ...options, receiveMaximum: 65_535 });
    for (let id = 1; id <= 65_535; id += 1) outbox.offer(id, 1, 1);
    expect([outbox.inFlightCount, outbox.offer(0, 1, 1)]).toEqual([65_535, offered.queued]);
    outbox.release(5);
    expect(outbox.take()).toEqual({ message: 0, packetId: 5, step: "publish" });
  });

  test("a PUBACK frees the session's window", () => {
    const edge = new Edge();
    edge.receive(connect(5, { properties: { receiveMaximum: 1 } }));
    const { outbox } = edge.session;
    expect([outbox.offer("m1", 10, 1), outbox.offer("m2", 10, 1)]).toEqual([1, offered.queued]);
    const puback = encodeAcknowledgement({ version: 5, type: packetTypes.puback, packetId: 1 });
    expect(edge.receive(puback)).toEqual([{ type: "acknowledged", packetId: 1, reasonCode: 0, bytes: undefined }]);
    expect(outbox.take()).toEqual({ message: "m2", packetId: 2, step: "publish" });
    expect(edge.session.onPuback({ type: 4, flags: 0, buffer: Uint8Array.of(0, 2), start: 0, end: 2 })).toBe("m2");
  });
});

test("law: mutated packets after CONNECT never throw and always end in a known state", () => {
  const packets = [
    publish(5, 1),
    publish(5, 2),
    encodeAcknowledgement({ version: 5, type: packetTypes.pubrel, packetId: 1 }),
    encodeAcknowledgement({ version: 5, type: packetTypes.pubrec, packetId: 1 }),
    encodeAuth(0x19, { authenticationMethod: "M" }),
    encodeSubscribe({ version: 5, packetId: 2, filters: [{ filter: "a/+", qos: 1 }] }),
    encodeUnsubscribe({ version: 5, packetId: 2, filters: ["a/+"] }),
    encodeAcknowledgement({ version: 5, type: packetTypes.puback, packetId: 1, reasonCode: 0x80, reasonString: "x" }),
    encodeDisconnect(5, 4, "bye"),
  ];
  const mutation = fc.record({
    index: fc.nat(packets.length - 1),
    edits: fc.array(fc.tuple(fc.nat(30), fc.nat(255)), { maxLength: 4 }),
  });
  fc.assert(
    fc.property(fc.array(mutation, { maxLength: 6 }), fc.constantFrom(4 as const, 5 as const), (mutations, version) => {
      const edge = new Edge({ maximumPacketSize: 2_000 });
      edge.receive(connect(version));
      for (const { index, edits } of mutations) {
        const bytes = Uint8Array.from(packets[index] as Uint8Array);
        for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value;
        if (edge.session.state === "ended") break;
        edge.receive(bytes);
      }
      expect(["connected", "ended"]).toContain(edge.session.state);
      expect(edge.scanner.carryCapacityBytes).toBeLessThanOrEqual(2_000);
    }),
    { numRuns: 1_000 },
  );
});

test("using the session out of turn is a programming error, not an MqttError", () => {
  const session = new ServerSession({ generateClientId: () => "x" });
  for (const misuse of [() => session.accept(), () => session.outbox, () => session.clientId]) {
    expect(misuse).toThrow(Error);
    expect(misuse).not.toThrow(MqttError);
  }
});
