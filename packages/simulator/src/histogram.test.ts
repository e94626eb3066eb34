import fc from "fast-check";
import { expect, test } from "vitest";
import { LatencyHistogram } from "./histogram.ts";

test("a percentile is at most 3.2 % above the exact one, and never below it", () => {
  const latencies = fc.array(fc.double({ min: 0.001, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(latencies, fc.integer({ min: 1, max: 100 }), (values, percent) => {
      const histogram = new LatencyHistogram();
      for (const value of values) histogram.record(value);
      const sorted = [...values].sort((a, b) => a - b);
      const exact = sorted[Math.ceil((values.length * percent) / 100) - 1]!;
      const answer = histogram.percentile(percent);
      // Latencies are kept in whole microseconds.
      expect(answer).toBeGreaterThanOrEqual(exact - 0.0005);
      expect(answer).toBeLessThanOrEqual(exact * 1.032 + 0.001);
    }),
  );
});

test("histograms add up", () => {
  const [one, two] = [new LatencyHistogram(), new LatencyHistogram()];
  for (let ms = 1; ms <= 50; ms += 1) one.record(ms);
  for (let ms = 51; ms <= 100; ms += 1) two.record(ms);
  one.add(two);
  expect(one.count).toBe(100);
  expect(one.maximumMs).toBe(100);
  expect(one.percentile(50)).toBeCloseTo(50, -1);
  one.reset();
  expect([one.count, one.percentile(99), one.maximumMs]).toEqual([0, 0, 0]);
});

test("nothing is lost at the ends", () => {
  const histogram = new LatencyHistogram();
  for (const ms of [-1, 0, 1e12]) histogram.record(ms);
  expect(histogram.count).toBe(3);
  expect(histogram.percentile(1)).toBe(0);
  expect(histogram.percentile(100)).toBeGreaterThan(4_000_000);
});
