/**
 * What a store of leases decides, as functions of what it holds and the time. A driver brings storage with compare-and-set, and executes.
 *
 *   none ──acquire──▶ held ──renew──▶ held (same epoch)
 *                      │ ▲
 *     release, or time │ │ acquire (next epoch): by its own holder at any time, by others once it is free
 *                      ▼ │
 *                     free ──renew──▶ held, if only the time was over; lost, if it was released
 */
import { HeadraceError } from "@headrace/sdk";
import type { Lease } from "./port.ts";

/** What is kept of a task's last lease. It stays when the lease ends, or epochs would begin anew. */
export interface LeaseRecord extends Lease {
  readonly released: boolean;
}

export type AcquireDecision =
  /** To be stored, if what was read is still what is there. */
  | { readonly kind: "grant"; readonly record: LeaseRecord; readonly because: "new" | "own" | "released" | "expired" }
  /** Another holder has it. */
  | { readonly kind: "wait"; readonly untilMs: number };

/** @param epochMin smallest epoch that may be given, for a store that has seen larger ones elsewhere */
export const decideAcquire = (
  record: LeaseRecord | undefined,
  asked: { readonly task: string; readonly holder: string },
  nowMs: number,
  ttlMs: number,
  epochMin = 1,
): AcquireDecision => {
  const because = reasonToGrant(record, asked.holder, nowMs);
  if (because === undefined) return { kind: "wait", untilMs: record?.untilMs ?? 0 };
  const epoch = Math.max(epochMin, (record?.epoch ?? 0) + 1);
  const { task, holder } = asked;
  return { kind: "grant", because, record: { task, holder, epoch, untilMs: nowMs + ttlMs, released: false } };
};

const reasonToGrant = (
  record: LeaseRecord | undefined,
  holder: string,
  nowMs: number,
): "new" | "own" | "released" | "expired" | undefined => {
  if (!record) return "new";
  if (record.released) return "released";
  if (record.holder === holder) return "own";
  return record.untilMs <= nowMs ? "expired" : undefined;
};

export type RenewDecision =
  /** To be stored. */
  | { readonly kind: "extend"; readonly record: LeaseRecord }
  /** The task has a later lease, or this one was released. */
  | { readonly kind: "lost" };

export const decideRenew = (
  record: LeaseRecord | undefined,
  lease: Lease,
  nowMs: number,
  ttlMs: number,
): RenewDecision =>
  record && isSame(record, lease) && !record.released
    ? { kind: "extend", record: { ...record, untilMs: nowMs + ttlMs } }
    : { kind: "lost" };

/** What a driver says when a lease is lost. @param record what is known of the task now */
export const leaseLost = (record: LeaseRecord | undefined, lease: Lease): HeadraceError => {
  const now = record
    ? `epoch ${record.epoch} ${record.released ? "was released by" : "is held by"} ${record.holder}`
    : "nobody has it";
  return new HeadraceError(
    "HR_LEASE_LOST",
    `the lease of ${lease.holder} on ${lease.task}, epoch ${lease.epoch}, is lost: ${now}`,
    { data: { task: lease.task, epoch: lease.epoch } },
  );
};

/** The record to store; undefined: there is nothing to release any more. */
export const decideRelease = (record: LeaseRecord | undefined, lease: Lease): LeaseRecord | undefined =>
  record && isSame(record, lease) && !record.released ? { ...record, released: true } : undefined;

/** The lease that a record stands for at `nowMs`. */
export const leaseAt = (record: LeaseRecord | undefined, nowMs: number): Lease | undefined => {
  if (!record || record.released || record.untilMs <= nowMs) return undefined;
  const { task, holder, epoch, untilMs } = record;
  return { task, holder, epoch, untilMs };
};

const isSame = (record: LeaseRecord, lease: Lease): boolean =>
  record.epoch === lease.epoch && record.holder === lease.holder;
