/** What every driver of the Leases port does, as tests: run it against each of them. */
import type { Lease, Leases } from "@headrace/engine";
import type { Runner } from "./log-conformance.ts";

/** A store of leases under test, with the driver of one holder. */
export interface OpenLeases {
  readonly leases: Leases;
  /** Several holders and a clock to move. Absent for a store whose only holder is the process that has it: nobody else can come, and nothing runs out. */
  readonly shared?: {
    connect(holder: string): Leases;
    readonly ttlMs: number;
    advance(ms: number): Promise<void> | void;
  };
  /** Ends the holder, as a crash does, and opens the store again over what it kept; absent for a store that keeps nothing. */
  readonly reopen?: () => Promise<Leases>;
  close(): Promise<void>;
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "settled",
    (error: { code?: unknown; name?: unknown }) => String(typeof error.code === "string" ? error.code : error.name),
  );

/** Registers the suite. @param make opens an empty store */
export const leasesConformance = (make: () => Promise<OpenLeases>, { test, equal }: Runner): void => {
  const withLeases = (name: string, run: (leases: Leases, open: OpenLeases) => Promise<void>): void =>
    test(name, async () => {
      const open = await make();
      try {
        await run(open.leases, open);
      } finally {
        await open.close();
      }
    });
  const taken = async (leases: Leases, task = "f/0"): Promise<Lease> => {
    const lease = await leases.acquire(task);
    if (!lease) throw new Error(`${task} is held by another`);
    return lease;
  };

  withLeases("a task that nobody has is acquired, and its holder is told", async (leases) => {
    equal(await leases.holder("f/0"), undefined);
    const lease = await taken(leases);
    equal([lease.task, lease.epoch >= 1], ["f/0", true]);
    equal(await leases.holder("f/0"), lease);
    equal(await leases.holder("f/1"), undefined);
  });

  withLeases(
    "each acquisition of a task has a larger epoch, also by the same holder and behind a release",
    async (leases) => {
      const epochs: number[] = [];
      for (let round = 0; round < 5; round++) {
        const lease = await taken(leases);
        epochs.push(lease.epoch);
        if (round % 2 === 0) await leases.release(lease);
      }
      equal(
        epochs,
        [...new Set(epochs)].sort((a, b) => a - b),
      );
      const together = await Promise.all([taken(leases), taken(leases), taken(leases)]);
      equal(new Set(together.map(({ epoch }) => epoch)).size, 3);
      equal(Math.min(...together.map(({ epoch }) => epoch)) > Math.max(...epochs), true);
    },
  );

  withLeases("renewing keeps the epoch, and fails once the task has a later lease", async (leases) => {
    const first = await taken(leases);
    const renewed = await leases.renew(first);
    equal([renewed.epoch, renewed.untilMs >= first.untilMs], [first.epoch, true]);
    const second = await taken(leases);
    for (const old of [first, renewed]) equal(await codeOf(leases.renew(old)), "HR_LEASE_LOST");
    equal((await leases.renew(second)).epoch, second.epoch);
  });

  withLeases("releasing gives the task back once; a lease that is lost releases nothing", async (leases) => {
    const first = await taken(leases);
    const second = await taken(leases);
    await leases.release(first);
    equal((await leases.holder("f/0"))?.epoch, second.epoch);
    await leases.release(second);
    await leases.release(second);
    equal(await leases.holder("f/0"), undefined);
    equal(await codeOf(leases.renew(second)), "HR_LEASE_LOST");
  });

  withLeases("an aborted call changes nothing", async (leases) => {
    const aborted = AbortSignal.abort();
    equal(await codeOf(leases.acquire("f/0", aborted)), "AbortError");
    equal(await leases.holder("f/0"), undefined);
    const lease = await taken(leases);
    equal(await codeOf(leases.release(lease, aborted)), "AbortError");
    equal(await codeOf(leases.renew(lease, aborted)), "AbortError");
    equal((await leases.holder("f/0"))?.epoch, lease.epoch);
  });

  withLeases(
    "opened again, epochs go on behind every one that was given, whether it was used or not",
    async (leases, { reopen }) => {
      if (!reopen) return;
      let last = (await taken(leases)).epoch;
      for (let round = 0; round < 3; round++) {
        const again = await reopen();
        const lease = await taken(again);
        equal(lease.epoch > last, true);
        last = lease.epoch;
      }
    },
  );

  withLeases("one holder at a time: the others wait for a release, or for the end", async (_leases, { shared }) => {
    if (!shared) return;
    const [a, b, c] = ["a", "b", "c"].map((holder) => shared.connect(holder));
    const first = await taken(a);
    equal([first.holder, (await b.holder("f/0"))?.holder], ["a", "a"]);
    equal(await b.acquire("f/0"), undefined);
    await shared.advance(shared.ttlMs - 1);
    equal(await b.acquire("f/0"), undefined);
    await a.renew(first);
    await shared.advance(shared.ttlMs - 1);
    equal(await b.acquire("f/0"), undefined);
    await shared.advance(1);
    equal(await b.holder("f/0"), undefined);
    const [second, refused] = [await b.acquire("f/0"), await c.acquire("f/0")];
    equal([second?.holder, (second?.epoch ?? 0) > first.epoch, refused], ["b", true, undefined]);
    equal(await codeOf(a.renew(first)), "HR_LEASE_LOST");
    await a.release(first);
    equal((await c.holder("f/0"))?.holder, "b");
    if (second) await b.release(second);
    equal((await c.acquire("f/0"))?.holder, "c");
  });

  withLeases(
    "a lease that is over and that nobody has taken is renewed with its epoch",
    async (_leases, { shared }) => {
      if (!shared) return;
      const [a, b] = [shared.connect("a"), shared.connect("b")];
      const first = await taken(a);
      await shared.advance(3 * shared.ttlMs);
      equal((await a.renew(first)).epoch, first.epoch);
      equal(await b.acquire("f/0"), undefined);
    },
  );

  withLeases("of holders that come at once exactly one gets the task", async (_leases, { shared }) => {
    if (!shared) return;
    for (let round = 0; round < 5; round++) {
      const holders = Array.from({ length: 6 }, (_, index) => shared.connect(`h${round}-${index}`));
      const got = await Promise.all(holders.map((holder) => holder.acquire("f/0")));
      equal(got.filter((lease) => lease !== undefined).length, 1);
      await shared.advance(shared.ttlMs);
    }
  });
};
