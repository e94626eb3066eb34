/** The bus between threads passes the suite of its port. The ports are those that threads have; that both ends are in one thread changes nothing. */
import { MessageChannel } from "node:worker_threads";
import { BusHub, type BusMember } from "@headrace/engine";
import { SubscriptionTree } from "@headrace/mqtt";
import { busConformance, type TestMessage } from "@headrace/testkit";
import { describe, expect, test } from "vitest";
import { Lane } from "./lane.ts";
import { type BusCodec, type BusHeard, type BusItem, BusPeer, ThreadBus } from "./thread-bus.ts";

const plain: BusCodec<TestMessage, TestMessage> = {
  toWire: (message) => message,
  fromWire: (message) => message,
  bytesOf: ({ text }) => text.length,
};

const openBus = async (bytesMax?: number) => {
  const hub = new BusHub<TestMessage>(<T>() => new SubscriptionTree<T>());
  const lanes: Lane<never>[] = [];
  const join = async (member: BusMember<TestMessage>) => {
    const { port1, port2 } = new MessageChannel();
    const near: Lane<BusItem<TestMessage>> = new Lane(
      port2,
      ThreadBus.methods(member),
      ({ kind, message }: BusHeard<TestMessage>) => member[kind](message),
    );
    const peer: { current?: BusPeer<TestMessage, TestMessage> } = {};
    const far: Lane<BusHeard<TestMessage>> = new Lane(
      port1,
      { want: (filter: string) => peer.current?.end.want(filter), claim: (id: string) => peer.current?.end.claim(id) },
      (item: BusItem<TestMessage>) => peer.current?.take(item),
      {},
      bytesMax,
    );
    peer.current = new BusPeer(hub, far, plain);
    lanes.push(near as Lane<never>, far as Lane<never>);
    return { bus: new ThreadBus(near, plain), far };
  };
  return {
    join,
    close: async () => {
      for (const lane of lanes) lane.close();
    },
  };
};

describe("the bus between threads is a Bus", () => {
  const open = async () => {
    const { join, close } = await openBus();
    return { join: async (member: BusMember<TestMessage>) => (await join(member)).bus, close };
  };
  busConformance(open, { test, equal: (actual, expected) => expect(actual).toEqual(expected) });
});

test("a member that does not keep up misses live messages, which are counted, and hears what is retained (A12)", async () => {
  const { join, close } = await openBus(10_000);
  const seen: string[] = [];
  const member: BusMember<TestMessage> = {
    wanted: () => undefined,
    heard: ({ text }) => seen.push(text.slice(0, 4)),
    retained: ({ topic }) => seen.push(topic),
    takeOver: async () => undefined,
  };
  const slow = await join(member);
  const { bus } = await join({ ...member, heard: () => undefined, retained: () => undefined });
  await slow.bus.want("#");
  for (let n = 0; n < 100; n += 1) bus.publish({ topic: "t", text: `${1000 + n}`.padEnd(1_000) });
  bus.retain({ topic: "last", text: "" });
  await expect.poll(() => seen.at(-1)).toBe("last");
  expect(seen.length).toBeLessThan(20);
  expect(slow.far.dropped).toBe(101 - seen.length);
  // It has caught up and hears again.
  await expect
    .poll(() => {
      bus.publish({ topic: "t", text: "more" });
      return seen.at(-1);
    })
    .toBe("more");
  await close();
});
