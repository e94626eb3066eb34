/** Goal: the judge of the crash tests sees every fault. Method: a right history, and one planted fault at a time. */
import { describe, expect, test } from "vitest";
import {
  countingViolationsOf,
  type EffectEvidence,
  type Evidence,
  effectViolationsOf,
  type MessageId,
  stepViolationsOf,
  sumViolationsOf,
  violationsOf,
} from "./checker.ts";

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

describe("effects", () => {
  const effects: EffectEvidence = {
    owed: ["a/5", "a/10"],
    attempts: [
      { id: "x", effect: "a/5" },
      { id: "x", effect: "a/5" },
      { id: "y", effect: "a/10" },
    ],
    ended: ["y", "x"],
  };
  test("met once or more, each under its own id, and ended once, is right", () => {
    expect(effectViolationsOf(effects)).toEqual([]);
  });
  test("one that nobody met is seen", () => {
    expect(effectViolationsOf({ ...effects, owed: [...effects.owed, "a/15"] })).toEqual([
      "lost: a/15 was owed and nobody met it",
    ]);
  });
  test("one that is not owed, one under two ids, and an id for two are seen", () => {
    const attempts = [...effects.attempts, { id: "z", effect: "a/5" }, { id: "y", effect: "b/5" }];
    expect(effectViolationsOf({ ...effects, attempts, ended: ["x", "y", "z"] })).toEqual([
      "a/5 was met as x and as z",
      "y stands for a/10 and for b/5",
      "invented: b/5 was met and is not owed",
    ]);
  });
  test("one that ends twice or never is seen", () => {
    expect(effectViolationsOf({ ...effects, ended: ["x", "x"] })).toEqual([
      "a/5 (x) ended 2 times",
      "a/10 (y) ended 0 times",
    ]);
  });
});

describe("steps", () => {
  const due = ["raised", "cleared", "raised"].map((step) => ({ key: "a", step }));
  test("those that are due, in their order, are right", () => {
    expect(stepViolationsOf(due, due)).toEqual([]);
  });
  test("one that is missing, doubled or another is seen", () => {
    expect(stepViolationsOf(due, due.slice(0, 2))).toEqual(["a: step 3 is missing and not raised"]);
    expect(stepViolationsOf(due, [...due, { key: "a", step: "raised" }])).toEqual([
      "a: step 4 is raised and not the end",
    ]);
    expect(stepViolationsOf(due, due.slice(1))).toEqual(["a: step 1 is cleared and not raised"]);
  });
});

describe("sums", () => {
  const parts = [
    { key: "a", part: "0", revision: 1, value: 2 },
    { key: "a", part: "1", revision: 1, value: 3 },
    { key: "a", part: "0", revision: 2, value: 4 },
  ];
  test("newest results that add up are right", () => {
    expect(sumViolationsOf(new Map([["a", 7]]), parts)).toEqual([]);
  });
  test("a doubled revision and a missing part are seen", () => {
    expect(sumViolationsOf(new Map([["a", 7]]), [...parts, ...parts.slice(2)])).toEqual([
      "a 0: revision 2 comes where 3 is due",
    ]);
    expect(sumViolationsOf(new Map([["a", 7]]), parts.slice(1, 2))).toEqual(["a: the parts add up to 3 and not to 7"]);
  });
});
