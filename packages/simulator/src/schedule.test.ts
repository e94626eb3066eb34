import { expect, test } from "vitest";
import { backoffMs } from "./backoff.ts";
import { seededRandom } from "./random.ts";
import { Schedule } from "./schedule.ts";

function countDue(schedule: Schedule, fromMs: number, untilMs: number, stepMs = 1): number {
  let count = 0;
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += stepMs) while (schedule.due(nowMs)) count += 1;
  return count;
}

test.each([
  [20, 0],
  [20, 0.5],
  [500, 1],
  [1, 1],
])("%d messages per second with jitter %d stay that many", (rate, jitter) => {
  const schedule = new Schedule(rate, jitter, seededRandom("a"), 0);
  const count = countDue(schedule, 0, 20_000);
  expect(Math.abs(count - rate * 20)).toBeLessThanOrEqual(2);
});

test("messages fall in the same milliseconds for the same seed", () => {
  const times = (seed: string) => {
    const schedule = new Schedule(50, 0.8, seededRandom(seed), 0);
    return Array.from({ length: 1000 }, (_, ms) => ms).filter((ms) => schedule.due(ms));
  };
  expect(times("a")).toEqual(times("a"));
  expect(times("a")).not.toEqual(times("b"));
});

test("after a pause it goes on from now and does not make up for it", () => {
  const schedule = new Schedule(100, 0, seededRandom("a"), 0);
  countDue(schedule, 0, 1000);
  expect(countDue(schedule, 61_000, 61_000)).toBeLessThanOrEqual(2);
  expect(Math.abs(countDue(schedule, 61_001, 62_000) - 100)).toBeLessThanOrEqual(2);
});

test("pauses between attempts double up to 5 s, and are never the same for all", () => {
  const random = seededRandom("a");
  const pauses = Array.from({ length: 12 }, (_, attempt) => backoffMs(attempt, random));
  for (const [attempt, pauseMs] of pauses.entries()) {
    const fullMs = Math.min(5000, 100 * 2 ** attempt);
    expect(pauseMs).toBeGreaterThanOrEqual(fullMs / 2);
    expect(pauseMs).toBeLessThanOrEqual(fullMs);
  }
  expect(backoffMs(1e9, random)).toBeLessThanOrEqual(5000);
});
