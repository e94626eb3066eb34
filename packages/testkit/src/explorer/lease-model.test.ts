/**
 * Goal: in no interleaving of acquire, expire, renew, fence, read, handle, append, pause, crash and take-over a message comes out twice or is lost, a
 * commit of a stale epoch is stored, or progress becomes impossible, also while one worker stays paused (P2). Method: all of them, by enumeration, with
 * the engine's own decisions; and the same model over a log without a fence, in which the shortest way to a wrong state must be found.
 */
import { expect, test } from "vitest";
import { describeFinding, explore } from "./explore.ts";
import { type LeaseModelOptions, leaseModel } from "./lease-model.ts";

const long = { timeout: 240_000 };

const exhaust = (what: string, options: Omit<LeaseModelOptions, "fenced">): void => {
  const started = performance.now();
  const { states, transitions, depth, goals, finding } = explore(leaseModel({ ...options, fenced: true }));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${what}: ${states} states, ${transitions} transitions, ${depth} steps deep, ${goals} goals, ${seconds} s`,
  );
  expect(finding && describeFinding(finding)).toBeUndefined();
  expect(goals).toBeGreaterThan(0);
};

test(
  "P2: three workers, one partition, two messages, every step of a take-over by itself: no interleaving breaks exactly-once or gets stuck",
  long,
  () => {
    exhaust("3 workers × 1 partition × 2 messages, full", { workers: 3, tasks: 1, messagesPerTask: 2, detail: "full" });
  },
);

test(
  "P2: three workers, two partitions, four messages: no interleaving breaks exactly-once or gets stuck",
  long,
  () => {
    exhaust("3 workers × 2 partitions × 4 messages", { workers: 3, tasks: 2, messagesPerTask: 2, detail: "core" });
  },
);

test("commit-without-fence is found, with a shortest way to it", () => {
  const { finding } = explore(leaseModel({ workers: 3, tasks: 2, messagesPerTask: 2, detail: "core", fenced: false }));
  expect(finding).toBeDefined();
  if (!finding) return;
  console.log(describeFinding(finding));
  expect(finding.what).toMatch(/a commit of epoch 1 was stored behind one that had read with epoch 2/);
  // Seven is the least: acquire, read and send, lose the task; the next one acquires and reads; the append arrives.
  expect(finding.steps).toHaveLength(7);
  expect(finding.steps.at(-1)).toMatch(/arrives/);
});

test("a state without a way to the goal is found as well", () => {
  const ring = {
    initial: 0,
    key: String,
    violation: () => undefined,
    isOnItsOwn: () => true,
    isGoal: (at: number) => at === 3,
  };
  const stuck = explore({
    ...ring,
    *steps(at: number) {
      if (at < 3) yield { label: "on", next: at + 1 };
      if (at === 1) yield { label: "into the trap", next: 9 };
    },
  });
  expect(stuck.finding).toEqual({ what: "no way leads from here to the goal", steps: ["on", "into the trap"] });
  const helped = explore({
    ...ring,
    *steps(at: number) {
      if (at < 3) yield { label: "on", next: at + 1, help: at === 2 };
    },
  });
  expect(helped.finding?.what).toMatch(/unless somebody comes back/);
});
