/** The Leases port in memory, on a clock that the test moves: what drivers are compared with, and what several holders in one test share. */
import {
  decideAcquire,
  decideRelease,
  decideRenew,
  type LeaseRecord,
  type Leases,
  leaseAt,
  leaseLost,
} from "@headrace/engine";

export interface MemoryLeasesOptions {
  /** Wall clock of the store, ms. */
  readonly nowMs: () => number;
  readonly ttlMs: number;
}

/** The store; each holder has a driver of its own over it. */
export class MemoryLeases {
  readonly #options: MemoryLeasesOptions;
  readonly #records = new Map<string, LeaseRecord>();

  constructor(options: MemoryLeasesOptions) {
    this.#options = options;
  }

  connect(holder: string): Leases {
    const { nowMs, ttlMs } = this.#options;
    const records = this.#records;
    return {
      acquire: async (task, signal) => {
        signal?.throwIfAborted();
        const decision = decideAcquire(records.get(task), { task, holder }, nowMs(), ttlMs);
        if (decision.kind === "wait") return undefined;
        records.set(task, decision.record);
        return leaseAt(decision.record, nowMs());
      },
      renew: async (lease, signal) => {
        signal?.throwIfAborted();
        const decision = decideRenew(records.get(lease.task), lease, nowMs(), ttlMs);
        if (decision.kind === "lost") throw leaseLost(records.get(lease.task), lease);
        records.set(lease.task, decision.record);
        return { ...lease, untilMs: decision.record.untilMs };
      },
      release: async (lease, signal) => {
        signal?.throwIfAborted();
        const record = decideRelease(records.get(lease.task), lease);
        if (record) records.set(lease.task, record);
      },
      holder: async (task, signal) => {
        signal?.throwIfAborted();
        return leaseAt(records.get(task), nowMs());
      },
    };
  }
}
