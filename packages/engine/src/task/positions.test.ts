/** Positions against a set of sequences: done in any order, in runs or one by one, they say the same. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Positions } from "./positions.ts";

const range = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 8 })).map(([start, length]) => [start, start + length]);

test("done in any order equals a set", () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 40 }), (ranges) => {
      const position = new Positions().channel(1, 2);
      const done = new Set<number>();
      for (const [start, end] of ranges) {
        Positions.done(position, start, end);
        for (let sequence = start; sequence < end; sequence++) done.add(sequence);
        const all = Array.from({ length: 70 }, (_, sequence) => sequence);
        expect(all.filter((sequence) => Positions.isDone(position, sequence))).toEqual(
          all.filter((at) => done.has(at)),
        );
        let low = 0;
        while (done.has(low)) low++;
        expect(position.low).toBe(low);
        // Runs are ascending, apart from one another and from the mark.
        let last = position.low;
        for (const [from, to] of position.runs) {
          if (from <= last || to <= from)
            throw new Error(`runs ${JSON.stringify(position.runs)} above ${position.low}`);
          last = to;
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("restored positions are the same and independent of what they were made from", () => {
  const original = new Positions();
  Positions.done(original.channel(1, 1), 5, 7);
  const restored = new Positions();
  restored.restore(original.all());
  Positions.done(restored.channel(1, 1), 0, 5);
  expect(restored.all()).toEqual([{ logId: 1, writer: 1, low: 7, runs: [] }]);
  expect(original.all()).toEqual([{ logId: 1, writer: 1, low: 0, runs: [[5, 7]] }]);
});
