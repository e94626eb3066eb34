/** Windows against a batch computation over the same events: whatever the order of arrival, the newest revisions say the same. */
import type { WindowDefinition } from "@headrace/sdk";
import { systemStreams } from "@headrace/sdk";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sourceStream, TaskBench } from "../../test/task-host.ts";
import { tumblingHandlers } from "./tumbling.ts";

const definition: WindowDefinition = {
  name: "in.rows",
  on: "in",
  kind: "tumbling",
  sizeMs: 1000,
  latenessMs: 0,
  idleAfterMs: 5000,
  aggregates: {
    n: { kind: "count" },
    total: { kind: "sum", field: "x" },
    low: { kind: "min", field: "x" },
    high: { kind: "max", field: "x" },
    average: { kind: "mean", field: "x" },
  },
  table: "rows",
};

const bench = (more: Partial<WindowDefinition> = {}): TaskBench =>
  new TaskBench(["rows", systemStreams.rejected, systemStreams.deadLetters], (logId) => ({
    ...tumblingHandlers({ ...definition, ...more }),
    partition: 0,
    partitions: 1,
    inputs: [{ stream: sourceStream("in"), logIds: [logId], decode: true, reportsRejected: true }],
    asynchronous: false,
    concurrency: 1,
  }));

/** The newest revision of each key and window; every revision must be one higher than the one before. */
const newestRows = (t: TaskBench): Record<string, unknown> => {
  const rows: Record<string, Record<string, unknown>> = {};
  for (const { key, value } of t.output("rows")) {
    const place = `${key}@${value.windowStart}`;
    expect([place, value.revision, value.op]).toEqual([place, Number(rows[place]?.revision ?? 0) + 1, "upsert"]);
    rows[place] = value;
  }
  return Object.fromEntries(
    Object.entries(rows).map(([place, { n, total, low, high, average }]) => [place, { n, total, low, high, average }]),
  );
};

interface Sample {
  readonly key: string;
  readonly timeMs: number;
  readonly x: number | null;
}

/** All windows at once, from all events. */
const batch = (samples: readonly Sample[]): Record<string, unknown> => {
  const groups: Record<string, Sample[]> = {};
  for (const sample of samples) {
    const place = `${sample.key}@${Math.floor(sample.timeMs / 1000) * 1000}`;
    groups[place] = [...(groups[place] ?? []), sample];
  }
  return Object.fromEntries(
    Object.entries(groups).map(([place, group]) => {
      const values = group.flatMap(({ x }) => (x === null ? [] : [x]));
      const total = values.reduce((sum, x) => sum + x, 0);
      const some = values.length > 0;
      return [
        place,
        {
          n: group.length,
          total,
          low: some ? Math.min(...values) : null,
          high: some ? Math.max(...values) : null,
          average: some ? total / values.length : null,
        },
      ];
    }),
  );
};

const key = fc.constantFrom("a", "b");
const x = fc.option(fc.integer({ min: -100, max: 100 }), { nil: null });

describe("arrival time", () => {
  test("equals the batch, with crashes anywhere", () => {
    const arrival = fc.record({
      key,
      x,
      afterMs: fc.nat(900),
      after: fc.constantFrom("", "", "commit", "crash", "lose"),
    });
    fc.assert(
      fc.property(fc.array(arrival, { maxLength: 40 }), (arrivals) => {
        const t = bench();
        const samples: Sample[] = [];
        for (const { key, x, afterMs, after } of arrivals) {
          t.advance(t.nowMs + afterMs);
          samples.push({ key, timeMs: t.nowMs, x });
          t.send({ key, value: { x }, arrivalMs: t.nowMs });
          if (after === "commit" || after === "crash") t.commit();
          if (after === "crash" || after === "lose") {
            t.recover();
            t.replay();
          }
        }
        t.advance(t.nowMs + 1000);
        t.commit();
        expect(newestRows(t)).toEqual(batch(samples));
        expect(t.output("rows").every(({ value }) => value.revision === 1)).toBe(true);
        expect(t.task.timers.size).toBe(0);
      }),
    );
  });
});

describe("time field", () => {
  test("equals the batch over what is not too late, however late and mixed events are", () => {
    const arrival = fc.record({ key, x, afterMs: fc.nat(1500), lateMs: fc.nat(6000), crash: fc.boolean() });
    fc.assert(
      fc.property(fc.array(arrival, { maxLength: 40 }), fc.constantFrom(0, 500, 3000), (arrivals, latenessMs) => {
        const t = bench({ timeField: "at", latenessMs });
        const samples: Sample[] = [];
        t.nowMs = 1_000_000;
        for (const { key, x, afterMs, lateMs, crash } of arrivals) {
          t.advance(t.nowMs + afterMs);
          const timeMs = t.nowMs - lateMs;
          samples.push({ key, timeMs, x });
          t.send({ key, value: { x, at: timeMs, index: samples.length - 1 }, arrivalMs: t.nowMs });
          if (!crash) continue;
          t.commit();
          t.recover();
        }
        t.advance(t.nowMs + 60_000);
        t.commit();
        const tooLate = new Set(
          t.output(systemStreams.deadLetters).map(({ value }) => {
            expect(value.error).toMatchObject({ name: "RangeError", message: expect.stringContaining("late") });
            return (JSON.parse(String(value.payload)) as { index: number }).index;
          }),
        );
        expect(newestRows(t)).toEqual(batch(samples.filter((_, index) => !tooLate.has(index))));
      }),
    );
  });

  const sent = (t: TaskBench, at: unknown, arrivalMs = t.nowMs): void =>
    t.send({ key: "a", value: { x: 1, at }, arrivalMs });
  const starts = (t: TaskBench): unknown[] => {
    t.commit();
    return t.output("rows").map(({ value }) => [value.windowStart, value.revision, value.n]);
  };

  test("a window closes when its key's time passes its end and the lateness, not before", () => {
    const t = bench({ timeField: "at", latenessMs: 500 });
    for (const at of [0, 999, 1000, 1499]) sent(t, at);
    expect(starts(t)).toEqual([]);
    sent(t, 1500);
    expect(starts(t)).toEqual([[0, 1, 2]]);
    sent(t, 100);
    expect(starts(t)).toEqual([
      [0, 1, 2],
      [0, 2, 3],
    ]);
  });

  test("a silent key's window closes by the arrival clock, corrected for a clock that is behind", () => {
    const t = bench({ timeField: "at" });
    t.nowMs = 100_000;
    sent(t, 40_000);
    t.advance(40_000 + 60_000 + 5999);
    expect(starts(t)).toEqual([]);
    t.advance(40_000 + 60_000 + 6000);
    expect(starts(t)).toEqual([[40_000, 1, 1]]);
  });

  test("a clock far ahead, or any other number, disturbs no later result (P8)", () => {
    const t = bench({ timeField: "at" });
    t.nowMs = 10_000;
    for (const at of [10_000, 4e15, 1e300, -1e300, 10_100]) sent(t, at);
    t.advance(17_000);
    const closed = starts(t) as [number, number, number][];
    expect(closed.filter(([start]) => start === 10_000).at(-1)).toEqual([10_000, expect.any(Number), 2]);
    t.recover();
    t.advance(18_000);
    sent(t, 18_000);
    t.advance(30_000);
    expect(starts(t).at(-1)).toEqual([18_000, 1, 1]);
  });

  test("a time may be ISO 8601; what is no time fails its event alone", () => {
    const t = bench({ timeField: "at" });
    sent(t, "1970-01-01T00:00:00.500Z");
    for (const at of ["soon", null, {}, Number.NaN]) sent(t, at);
    sent(t, 700);
    t.advance(60_000);
    expect(starts(t)).toEqual([[0, 1, 2]]);
    expect(t.output(systemStreams.deadLetters)).toHaveLength(4);
  });
});
