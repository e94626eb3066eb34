// Goal: what a match costs is bounded before a topic comes (M12). Method: laws against the tree, and the sets of filters that hurt most.
import fc from "fast-check";
import { expect, test } from "vitest";
import { FilterShapes, SubscriptionList, SubscriptionTree } from "./index.ts";

const level = fc.constantFrom("a", "b", "", "+");
const filters = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 6 }), fc.boolean())
  .map(([levels, isMulti]) => [...levels, ...(isMulti ? ["#"] : [])].join("/"));
const topics = fc
  .array(fc.constantFrom("a", "b", ""), { minLength: 1, maxLength: 7 })
  .map((levels) => levels.join("/"));

test("law: M12: no topic visits more nodes of the tree than the filters' shapes have beginnings", () => {
  fc.assert(
    fc.property(fc.array(filters, { maxLength: 60 }), topics, (all, topic) => {
      const [tree, shapes] = [new SubscriptionTree<string>(), new FilterShapes()];
      for (const filter of new Set(all)) {
        expect(shapes.size + shapes.missing(filter)).toBeGreaterThanOrEqual(shapes.size);
        tree.add(filter, filter);
        shapes.add(filter);
      }
      expect(tree.match(topic, () => undefined)).toBeLessThanOrEqual(shapes.size);
    }),
  );
});

test("law: missing() is what add() adds, and remove() takes all of it back", () => {
  fc.assert(
    fc.property(fc.array(filters, { maxLength: 30 }), (all) => {
      const shapes = new FilterShapes();
      for (const filter of all) {
        const expected = shapes.size + shapes.missing(filter);
        shapes.add(filter);
        expect(shapes.size).toBe(expected);
        expect(shapes.missing(filter)).toBe(0);
      }
      for (const filter of all) shapes.remove(filter);
      expect(shapes.size).toBe(1);
    }),
  );
});

test("M12: twenty thousand filters of one kind cost a match no more than one of them", () => {
  const [tree, shapes] = [new SubscriptionTree<number>(), new FilterShapes()];
  for (let index = 0; index < 20_000; index += 1) {
    const filter = `plants/${index % 100}/pumps/+/${index}/#`;
    tree.add(filter, index);
    shapes.add(filter);
  }
  expect(shapes.size).toBe(6);
  expect(tree.match("plants/7/pumps/p/7/x", () => undefined)).toBeLessThanOrEqual(6);
});

/** Filters with every overlap of a name and `+`: the first `count` of them. */
const overlaps = (levels: number, count = 2 ** levels): string[] =>
  Array.from({ length: count }, (_, bits) =>
    Array.from({ length: levels }, (_, place) => ((bits >> place) & 1 ? "+" : "a")).join("/"),
  );

test("M12: every overlap of a name and + at 13 levels is 16,383 visits, and the shapes say so beforehand", () => {
  const [tree, shapes] = [new SubscriptionTree<string>(), new FilterShapes()];
  for (const filter of overlaps(13)) {
    tree.add(filter, filter);
    shapes.add(filter);
  }
  expect(tree.match("a/".repeat(12).concat("a"), () => undefined)).toBe(16_383);
  expect(shapes.size).toBe(16_383);
});

test("M12: one session gets 128 levels of shapes; room comes back with what it gives up", () => {
  const session = new SubscriptionList({ subscriptionsMax: 100_000 });
  const ask = (filter: string): number => {
    const request = { filter, qos: 0 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const };
    const requests = session.examine({ packetId: 1, filters: [request], properties: {} });
    const codes = requests.map(({ reasonCode }) => reasonCode);
    session.grant(requests, codes, undefined);
    return codes[0] ?? -1;
  };
  const codes = overlaps(16, 1_000).map(ask);
  // 8 shapes of 16 levels; the filter without + costs nothing extra.
  expect(codes.filter((code) => code === 0)).toHaveLength(9);
  expect(codes.filter((code) => code === 0x97)).toHaveLength(991);
  const granted = new FilterShapes();
  for (const { filter } of session.values()) granted.add(filter);
  expect(granted.size).toBeLessThanOrEqual(1 + 16 + 128);
  expect(ask("+/b")).toBe(0x97);
  const [first] = [...session.values()].filter(({ filter }) => filter.includes("+"));
  session.remove([first?.filter ?? ""]);
  // A shape that is there already is always welcome.
  expect([ask("+/b"), ask("+/c")]).toEqual([0, 0]);
});
