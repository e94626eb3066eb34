/** Timers against a plain list: set, moved and removed in any order, they come due by time and then by order of setting. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Timers } from "./timers.ts";

const action = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("set" as const), key: fc.nat(5), name: fc.nat(3), at: fc.nat(30) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("remove" as const), key: fc.nat(5), name: fc.nat(3), at: fc.nat(30) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("take" as const), key: fc.nat(5), name: fc.nat(3), at: fc.nat(30) }),
  },
);

test("any sequence of actions equals a list", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
      const timers = new Timers();
      let model: { key: string; name: string; dueMs: number }[] = [];
      const due = (): typeof model => model.toSorted((a, b) => a.dueMs - b.dueMs);
      for (const { do: what, key: keyNumber, name: nameNumber, at } of actions) {
        const [key, name] = [`k${keyNumber}`, `n${nameNumber}`];
        if (what === "take") {
          const [first] = due();
          const expected = first && first.dueMs <= at ? first : undefined;
          const taken = timers.takeDue(at);
          expect(taken && { key: taken.key, name: taken.name, dueMs: taken.dueMs }).toEqual(expected);
          model = model.filter((timer) => timer !== expected);
        } else {
          model = model.filter((timer) => timer.key !== key || timer.name !== name);
          if (what === "set") {
            model.push({ key, name, dueMs: at });
            timers.set(key, name, at);
          } else timers.remove(key, name);
          expect(timers.get(key, name)).toBe(what === "set" ? at : undefined);
        }
        expect(timers.nextMs).toBe(due()[0]?.dueMs);
        expect(timers.size).toBe(model.length);
        expect(timers.all().map(({ key, name, dueMs }) => ({ key, name, dueMs }))).toEqual(model);
      }
    }),
    { numRuns: 200 },
  );
});

test("key and name do not run into each other", () => {
  const timers = new Timers();
  timers.set("a", "bc", 1);
  timers.set("ab", "c", 2);
  timers.remove("a", "bc");
  expect(timers.all()).toMatchObject([{ key: "ab", name: "c" }]);
});
