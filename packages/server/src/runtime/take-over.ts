/**
 * A worker becomes the owner of a task, in this order: the lease gives the epoch; every channel that the task writes is fenced with it; only then is
 * read where the task stands. What comes next is decided in the engine (leases/take-over.ts), where the model checker takes it from as well.
 */
import {
  type Channel,
  effectsLog,
  journalLog,
  type Lease,
  type Leases,
  nextTakeOverStep,
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
  const written = [...new Set([journalId, effectsLogId, ...outputLogIds.map(([, logId]) => logId)])];
  const journal = { logId: journalId, writer: journalId };
  let lease: Lease | "held" | undefined;
  let unfenced: readonly number[] = written;
  let base: RecoveryBase | undefined;
  for (;;) {
    const step = nextTakeOverStep({ wanted: isCurrent(), lease, unfenced, read: base !== undefined });
    switch (step.kind) {
      case "acquire":
        lease = (await leases.acquire(plan.name)) ?? "held";
        break;
      case "fence":
        await log.fence({ logId: step.logId, writer: journalId }, step.epoch);
        unfenced = unfenced.slice(1);
        break;
      case "read":
        base = await readBase(parts, journal);
        break;
      case "run":
        return {
          lease: step.lease,
          // "run" comes behind "read" only.
          base: base ?? (await readBase(parts, journal)),
          journal,
          journalEnd: log.endSequence(journal),
          inputLogIds,
          outputLogIds,
          effectsLogId,
          ends: written.map((logId) => [logId, log.endSequence({ logId, writer: journalId })] as const),
          startAt: inputLogIds.flatMap((logId) =>
            log.channels(logId).map(({ writer, endSequence }) => [logId, writer, endSequence] as const),
          ),
        };
      case "wait":
        throw new HeadraceError("HR_LEASE_HELD", `another node works on ${plan.name}`, { data: { task: plan.name } });
      case "abandon":
        if (step.lease) await leases.release(step.lease);
        return undefined;
      default:
        throw new Error(`unknown step ${JSON.stringify(step satisfies never)}`);
    }
  }
};

/** Chooses snapshot and journal to begin with. @throws HR_SNAPSHOT_CORRUPT, HR_SNAPSHOT_MISMATCH */
const readBase = async ({ log, plan, snapshots }: TakeOverParts, journal: Channel): Promise<RecoveryBase> => {
  const { folder, files } = snapshots;
  const base = await chooseBase(snapshotFolder(folder, plan.name), plan.name, journal, log, files);
  for (const { path, reason } of base.damaged)
    process.emitWarning(`snapshot ${path} is damaged and passed over: ${reason}`);
  return base;
};
