/**
 * Taking a task over, as decisions: what comes next, from what is known so far. Whoever executes them (the node's driver, the model in the testkit)
 * reports back with the next state of knowledge. The order is the safety argument: an epoch first, then the fence on every channel that the task
 * writes, and only then a look at where the task stands; from the last fence on nothing of a former owner can be added to what is read.
 */
import type { Lease } from "./port.ts";

/** What a take-over knows. */
export interface TakeOverKnowledge {
  /** False once nobody waits for it: the task was stopped, or a later start came. */
  readonly wanted: boolean;
  /** Undefined until it was asked for; "held": another holder has the task. */
  readonly lease: Lease | "held" | undefined;
  /** Logs whose channels are still to be fenced, the journal first: every commit has a block of it, so that alone keeps a former owner out. */
  readonly unfenced: readonly number[];
  /** Whether snapshot and ends have been read. */
  readonly read: boolean;
}

export type TakeOverStep =
  /** Ask for the lease. */
  | { readonly kind: "acquire" }
  /** Try again later, from the start. */
  | { readonly kind: "wait" }
  /** Raise the channel of this log to the epoch. Refused: a later owner was here; give up. */
  | { readonly kind: "fence"; readonly logId: number; readonly epoch: number }
  /** Read where the task stands: the newest sound snapshot and the ends of what it writes. */
  | { readonly kind: "read" }
  /** Run from there. */
  | { readonly kind: "run"; readonly lease: Lease }
  /** Touch nothing more, but give the lease back. */
  | { readonly kind: "abandon"; readonly lease: Lease | undefined };

export const nextTakeOverStep = ({ wanted, lease, unfenced, read }: TakeOverKnowledge): TakeOverStep => {
  if (!wanted) return { kind: "abandon", lease: lease === "held" ? undefined : lease };
  if (lease === undefined) return { kind: "acquire" };
  if (lease === "held") return { kind: "wait" };
  if (unfenced.length > 0) return { kind: "fence", logId: unfenced[0], epoch: lease.epoch };
  return read ? { kind: "run", lease } : { kind: "read" };
};
