// Goal: filters match as MQTT 5.0 §4.7 says, the tree agrees with the one-filter matcher, caches stay bounded.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  encodePublish,
  encodeSubscribe,
  MqttError,
  matchesFilter,
  SubscriptionTree,
  TopicCache,
  TopicMemo,
  utf8,
  validateFilter,
  validateTopic,
} from "./index.ts";

describe("matchesFilter", () => {
  test.each([
    ["sport/tennis/player1/#", "sport/tennis/player1", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
    ["sport/#", "sport", true],
    ["#", "a/b", true],
    ["#", "$SYS/x", false],
    ["+/monitor/Clients", "$SYS/monitor/Clients", false],
    ["$SYS/#", "$SYS/monitor", true],
    ["sport/tennis/+", "sport/tennis/player1/ranking", false],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+/+", "/finance", true],
    ["/+", "/finance", true],
    ["+", "/finance", false],
    ["a/b", "a/bc", false],
    ["a/bc", "a/b", false],
    ["a/+/#", "a", false],
    ["a/+/#", "a/b", true],
    ["ACCOUNTS", "Accounts", false],
  ])("%s on %s: %s", (filter, topic, expected) => {
    expect(matchesFilter(filter, topic)).toBe(expected);
  });
});

test.each(["a+", "#/a", "a/#/b", "a/b#", "", "a\0b", "$share/g", "$share//a", "$share/+/a", "$SHARE//"])(
  "validateFilter refuses %j",
  (filter) => {
    expect(() => validateFilter(filter)).toThrow(expect.objectContaining({ reasonCode: 0x8f }));
  },
);

test("[v4 4.7.3-3] [v5 4.7.3-3] no topic or filter of more than 65,535 bytes can be written, and none is taken", () => {
  // Two bytes each in UTF-8.
  const [most, tooLong] = ["ü".repeat(32_767), "ü".repeat(32_768)];
  const publish = (topic: string): Uint8Array =>
    encodePublish({ version: 5, topic: utf8(topic), payload: utf8(""), qos: 0 });
  const subscribe = (filter: string): Uint8Array =>
    encodeSubscribe({ version: 5, packetId: 1, filters: [{ filter, qos: 0 }] });
  for (const encode of [publish, subscribe]) {
    expect(encode(most).byteLength).toBeGreaterThan(65_534);
    expect(() => encode(tooLong)).toThrow(RangeError);
  }
  const limits = { bytesMax: 65_535, levelsMax: 64 };
  for (const validate of [validateTopic, validateFilter]) {
    validate(most, limits);
    expect(() => validate(tooLong, limits)).toThrow(MqttError);
  }
});

const level = fc.constantFrom("a", "b", "", "$x");
const topics = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join("/"));
const filters = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([levels, multi]) => [...levels, ...(multi ? ["#"] : [])].join("/"));

describe("SubscriptionTree", () => {
  test("[v4 4.7.2-1] [v5 4.7.2-1] law: it finds exactly the filters that match, also after removals", () => {
    fc.assert(
      fc.property(fc.uniqueArray(filters, { maxLength: 20 }), fc.nat(20), topics, (all, removedCount, topic) => {
        const tree = new SubscriptionTree<string>();
        for (const filter of all) expect(tree.add(filter, filter)).toBe(true);
        for (const filter of all.slice(0, removedCount)) expect(tree.remove(filter, filter)).toBe(true);
        const expected = all.slice(removedCount).filter((filter) => matchesFilter(filter, topic));
        expect(tree.matches(topic).sort()).toEqual(expected.sort());
      }),
      { numRuns: 500 },
    );
  });

  test("removing what is not there changes nothing", () => {
    const tree = new SubscriptionTree<number>();
    tree.add("a/+/#", 1);
    expect(tree.add("a/+/#", 1)).toBe(false);
    const { version } = tree;
    expect([tree.remove("a/+", 1), tree.remove("a/+/#", 2), tree.remove("b", 1)]).toEqual([false, false, false]);
    expect([tree.version, tree.size]).toEqual([version, 1]);
  });
});

describe("TopicCache", () => {
  const bytes = (topic: string): [Buffer, number, number] => {
    const buffer = Buffer.from(`..${topic}..`);
    return [buffer, 2, buffer.length - 2];
  };

  test("a topic is resolved once; a memo agrees with the cache; clear reaches the memo", () => {
    const resolved: string[] = [];
    const cache = new TopicCache((topic) => {
      resolved.push(topic);
      return { topic };
    });
    const memo = new TopicMemo(cache);
    const first = memo.lookup(...bytes("a/ü"));
    expect(first.topic).toBe("a/ü");
    expect(memo.lookup(...bytes("a/ü"))).toBe(first);
    expect(memo.lookup(...bytes("a/b")).topic).toBe("a/b");
    expect(memo.lookup(...bytes("a/ü"))).toBe(first);
    expect(resolved).toEqual(["a/ü", "a/b"]);
    cache.clear();
    expect(memo.lookup(...bytes("a/ü"))).not.toBe(first);
  });

  test("law: through a memo every topic gives its own value", () => {
    const memo = new TopicMemo(new TopicCache((topic) => topic, { entriesMax: 3 }));
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "b", "ab", "ba", "aa"), { maxLength: 30 }), (names) => {
        for (const name of names) expect(memo.lookup(...bytes(name))).toBe(name);
      }),
    );
  });

  test("it stays within its entries and bytes", () => {
    const cache = new TopicCache((topic) => topic, { entriesMax: 10, bytesMax: 100 });
    for (let index = 0; index < 1_000; index += 1) {
      cache.lookup(...bytes(`t/${index}`));
      expect(cache.size).toBeLessThanOrEqual(10);
    }
    for (let index = 10; index < 99; index += 1) cache.lookup(...bytes(`${index}${"x".repeat(40)}`));
    expect(cache.size).toBeLessThanOrEqual(2);
  });

  test("a refused topic is not kept", () => {
    const cache = new TopicCache((topic) => topic);
    expect(() => cache.lookup(...bytes("a/+"))).toThrow(MqttError);
    expect(cache.size).toBe(0);
  });
});
