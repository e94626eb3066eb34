/**
 * A worker becomes the owner of a task, in this order: the lease gives the epoch; every channel that the task writes is fenced with it; only then is
 * read where the task stands. From the fence on nothing of a former owner is stored, so what is read is all that there will be.
 */
import {
  type Channel,
  effectsLog,
  journalLog,
  type Lease,
  type Leases,
  roleOf,
  streamLog,
  type TaskPlan,
} from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import type { EmbeddedLog } from "../log/index.ts";
import { chooseBase, type RecoveryBase, type Snapshots, snapshotFolder } from "./snapshots/index.ts";

/** Where a task stands for its new owner. */
export interface TakenOver {
  readonly lease: Lease;
  readonly journal: Channel;
  readonly journalEnd: number;
  readonly base: RecoveryBase;
  readonly inputLogIds: readonly number[];
  readonly outputLogIds: readonly (readonly [string, number])[];
  readonly effectsLogId: number;
  /** Next sequence of each log that the task writes. */
  readonly ends: readonly (readonly [number, number])[];
  /** Where the inputs end: `[logId, writer, sequence]`. */
  readonly startAt: readonly (readonly [number, number, number])[];
}

interface TakeOverParts {
  readonly log: EmbeddedLog;
  readonly leases: Leases;
  readonly plan: TaskPlan;
  readonly inputLogs: readonly string[];
  readonly snapshots: Snapshots;
}

/**
 * @param isCurrent false once nobody waits for this take-over any more: it ends with undefined and touches no channel after that
 * @throws HR_LEASE_HELD when another holder has the task; HR_FENCED when a later owner has taken it meanwhile; HR_SNAPSHOT_CORRUPT, HR_SNAPSHOT_MISMATCH
 */
export const takeOver = async (parts: TakeOverParts, isCurrent: () => boolean): Promise<TakenOver | undefined> => {
  const { log, leases, plan } = parts;
  const open = async (name: string): Promise<number> => (await log.open(name, roleOf(name))).id;
  const journalId = await open(journalLog(plan.name));
  const inputLogIds = await Promise.all(parts.inputLogs.map(open));
  const outputLogIds = await Promise.all(
    plan.outputs.map(async (stream) => [stream, await open(streamLog(stream, 0))] as const),
  );
  const effectsLogId = await open(effectsLog);
  if (!isCurrent()) return undefined;

  const lease = await leases.acquire(plan.name);
  if (!lease) {
    throw new HeadraceError("HR_LEASE_HELD", `another node works on ${plan.name}`, { data: { task: plan.name } });
  }
  // The journal first: every commit has a block of it, so this alone keeps a former owner out.
  const written = [...new Set([journalId, effectsLogId, ...outputLogIds.map(([, logId]) => logId)])];
  for (const logId of written) {
    if (!isCurrent()) break;
    await log.fence({ logId, writer: journalId }, lease.epoch);
  }
  if (!isCurrent()) {
    await leases.release(lease);
    return undefined;
  }

  const journal = { logId: journalId, writer: journalId };
  const { folder, files } = parts.snapshots;
  const base = await chooseBase(snapshotFolder(folder, plan.name), plan.name, journal, log, files);
  for (const { path, reason } of base.damaged)
    process.emitWarning(`snapshot ${path} is damaged and passed over: ${reason}`);
  return {
    lease,
    journal,
    journalEnd: log.endSequence(journal),
    base,
    inputLogIds,
    outputLogIds,
    effectsLogId,
    ends: written.map((logId) => [logId, log.endSequence({ logId, writer: journalId })] as const),
    startAt: inputLogIds.flatMap((logId) =>
      log.channels(logId).map(({ writer, endSequence }) => [logId, writer, endSequence] as const),
    ),
  };
};
