/** Goal: the judge of the crash tests sees every fault. Method: a right history, and one planted fault at a time. */
import { describe, expect, test } from "vitest";
import { countingViolationsOf, type Evidence, type MessageId, violationsOf } from "./checker.ts";

const id = (device: string, sequence: number, epoch = 1): MessageId => ({ device, epoch, sequence });

/** Two devices; the last message of each was sent, and only that of `a` was stored. */
const right: Evidence = {
  sent: [id("a", 1), id("b", 1), id("a", 2), id("b", 2), id("a", 3), id("a", 1, 2), id("b", 3)],
  acknowledged: [id("a", 1), id("a", 2), id("b", 1), id("b", 2), id("a", 3)],
  stored: [id("a", 1), id("b", 1), id("b", 2), id("a", 2), id("a", 3), id("a", 1, 2)],
};
const { stored } = right;

describe("stored messages", () => {
  test.each(["exactlyOnce", "atLeastOnce"] as const)("a right history has no violation (%s)", (guarantee) => {
    expect(violationsOf(right, guarantee)).toEqual([]);
  });
  test.each(["exactlyOnce", "atLeastOnce"] as const)("a lost acknowledged message is seen (%s)", (guarantee) => {
    const lost = { ...right, stored: stored.filter(({ device, sequence }) => device !== "b" || sequence !== 2) };
    expect(violationsOf(lost, guarantee)).toEqual(["lost: b 1.2 was acknowledged and is not stored"]);
  });
  test.each(["exactlyOnce", "atLeastOnce"] as const)("a message that nobody sent is seen (%s)", (guarantee) => {
    const invented = { ...right, stored: [...stored, id("b", 9)] };
    expect(violationsOf(invented, guarantee)).toEqual(["invented: b 1.9 is stored and was never sent"]);
  });
  test("a duplicate breaks exactly once, and not at least once", () => {
    const doubled = { ...right, stored: [id("a", 1), ...stored] };
    expect(violationsOf(doubled, "exactlyOnce")).toEqual(["doubled: a 1.1 is stored 2 times"]);
    expect(violationsOf(doubled, "atLeastOnce")).toEqual([]);
  });
  test("a late repeat breaks exactly once, and not at least once", () => {
    const late = { ...right, stored: [...stored, id("b", 1)] };
    expect(violationsOf(late, "exactlyOnce")).toEqual([
      "doubled: b 1.1 is stored 2 times",
      "out of order: b 1.1 is stored behind b 1.2",
    ]);
    expect(violationsOf(late, "atLeastOnce")).toEqual([]);
  });
  test.each(["exactlyOnce", "atLeastOnce"] as const)("a reordering is seen, also between epochs (%s)", (guarantee) => {
    const swapped = { ...right, stored: [id("a", 2), id("a", 1), ...stored.slice(1, 3), id("a", 1, 2), id("a", 3)] };
    expect(violationsOf(swapped, guarantee)).toEqual([
      "out of order: a 1.1 is stored behind a 1.2",
      "out of order: a 1.3 is stored behind a 2.1",
    ]);
  });
  test("many violations are shortened", () => {
    const sent = Array.from({ length: 100 }, (_, index) => id("a", index));
    const found = violationsOf({ sent, acknowledged: sent, stored: [] }, "exactlyOnce");
    expect(found).toHaveLength(21);
    expect(found.at(-1)).toBe("and 80 more");
  });
});

describe("counted messages", () => {
  const counts: Record<string, number> = {};
  const counted = stored.map((one) => {
    const count = (counts[one.device] ?? 0) + 1;
    counts[one.device] = count;
    return { ...one, count };
  });

  test("each once, counting up, is right", () => {
    expect(countingViolationsOf(stored, counted)).toEqual([]);
  });
  test("one that is not counted is seen, and so is the gap in the counts", () => {
    expect(countingViolationsOf(stored, counted.slice(1))).toEqual([
      "not counted: a 1.1 is stored",
      "miscounted: a 1.2 is number 2 and not 1",
    ]);
  });
  test("one that is counted twice is seen", () => {
    expect(countingViolationsOf(stored, [...counted, { ...id("b", 2), count: 3 }])).toEqual([
      "doubled: b 1.2 is counted 2 times",
    ]);
  });
  test("a state that went back is seen", () => {
    const back = counted.map((one) => (one.epoch === 2 ? { ...one, count: 1 } : one));
    expect(countingViolationsOf(stored, back)).toEqual(["miscounted: a 2.1 is number 1 and not 4"]);
  });
  test("one that is not stored is seen", () => {
    expect(countingViolationsOf(stored, [...counted, { ...id("c", 1), count: 1 }])).toEqual([
      "counted from nowhere: c 1.1 is not stored",
    ]);
  });
});
