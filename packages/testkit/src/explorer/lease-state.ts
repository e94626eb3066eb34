/**
 * The states of the lease model, and its reductions. All are exact: they join states from which the same can happen.
 *
 * - Epochs are only compared, and a new one is larger than all before. So an epoch that somebody holds is kept as its rank, and one that something is
 *   compared with (of a channel, or of who has read) as the first rank that is not below it. Held epochs below both channels are dead: channels only
 *   rise, so every comparison to come ends the same for them, but for the question whether one has read since. They share two ranks.
 * - A task that is done, that nobody attends to and that no append is on its way to can change no more.
 * - Workers, like tasks, have no order: states that differ by names only have one key.
 */
import type { ChannelEnd, Lease, LeaseRecord } from "@headrace/engine";

/** Logs of a task: its commits, and what it puts out. */
export const logs = [0, 1] as const;

export interface Append {
  readonly task: number;
  readonly epoch: number;
  /** Expected sequences, by log. */
  readonly sequences: readonly number[];
  readonly from: number;
  readonly to: number;
}

/** What a worker does for the task that it attends to. */
export type Work = {
  readonly task: number;
  readonly lease: Lease;
} & (
  | { readonly phase: "taking"; readonly unfenced: readonly number[] }
  | { readonly phase: "running"; readonly position: number; readonly ends: readonly number[] }
  | { readonly phase: "appending"; readonly append: Append }
);

export interface WorkerState {
  readonly paused: boolean;
  readonly work: Work | undefined;
}

export interface TaskState {
  readonly record: LeaseRecord | undefined;
  readonly channels: readonly ChannelEnd[];
  /** Input position of the newest commit. */
  readonly position: number;
  /** Messages in the output, in order. */
  readonly out: readonly number[];
  /** Largest epoch with which anybody has read where the task stands: nothing older may be stored any more. */
  readonly readEpoch: number;
  readonly broken: string | undefined;
}

export interface LeaseState {
  readonly workers: readonly WorkerState[];
  readonly tasks: readonly TaskState[];
  /** An append that is still on its way, of a worker that has crashed behind it. */
  readonly orphan: Append | undefined;
}

/** The state with its reductions made: all that the steps to come can tell apart is still there. */
export const reduced = (state: LeaseState, messagesPerTask: number): LeaseState => {
  let next = state;
  for (let task = 0; task < state.tasks.length; task++) next = reducedTask(next, task, messagesPerTask);
  return next;
};

const reducedTask = (state: LeaseState, task: number, messagesPerTask: number): LeaseState => {
  const { tasks, workers, orphan } = state;
  const { record, channels, position, readEpoch } = tasks[task];
  let held = orphan?.task === task ? 1 << orphan.epoch : 0;
  let isRecordHeld = false;
  for (const { work } of workers) {
    if (work?.task !== task) continue;
    held |= 1 << work.lease.epoch;
    if (work.lease.epoch === record?.epoch) isRecordHeld = true;
  }
  if (held === 0 && position === messagesPerTask) return withTaskState(state, task, { ...tasks[task], ...inert });
  const ranks = ranksOf(held, Math.min(channels[0].epoch, channels[1].epoch), readEpoch);
  const threshold = (epoch: number): number => {
    let below = 0;
    for (let one = 1; one < epoch; one++) if (ranks[one] > below) below = ranks[one];
    return below + 1;
  };
  let most = 0;
  let isReduced =
    threshold(channels[0].epoch) === channels[0].epoch && threshold(channels[1].epoch) === channels[1].epoch;
  for (let epoch = 1; epoch < ranks.length; epoch++) {
    if (ranks[epoch] > most) most = ranks[epoch];
    if (ranks[epoch] !== 0 && ranks[epoch] !== epoch) isReduced = false;
  }
  const isHeld = record !== undefined && (isRecordHeld || (record.untilMs > 0 && !record.released));
  const recordEpoch = record && isRecordHeld ? ranks[record.epoch] : most + 1;
  if (record && (record.epoch !== recordEpoch || !(isHeld || record.holder === ""))) isReduced = false;
  if (isReduced && threshold(readEpoch) === readEpoch) return state;
  const append = (one: Append): Append => (one.task === task ? { ...one, epoch: ranks[one.epoch] } : one);
  return {
    workers: workers.map((one) => {
      const { work } = one;
      if (work?.task !== task) return one;
      return { ...one, work: rankedWork(work, { ...work.lease, epoch: ranks[work.lease.epoch] }, append) };
    }),
    tasks: tasks.map((one, index) =>
      index !== task
        ? one
        : {
            ...one,
            record: record && {
              // A lease that nobody believes in and that is over is free, however it came to be.
              ...(isHeld ? record : { ...record, ...free }),
              epoch: recordEpoch,
            },
            channels: channels.map((channel) => ({ ...channel, epoch: threshold(channel.epoch) })),
            readEpoch: threshold(readEpoch),
          },
    ),
    orphan: orphan && append(orphan),
  };
};

const withTaskState = (state: LeaseState, task: number, next: TaskState): LeaseState => ({
  ...state,
  tasks: state.tasks.map((one, index) => (index === task ? next : one)),
});

const free = { holder: "", released: true, untilMs: 0 } as const;
const noEnds = [
  { epoch: 1, endSequence: 0 },
  { epoch: 1, endSequence: 0 },
];
const inert = { record: undefined, channels: noEnds, readEpoch: 1 } as const;

/** Ranks of the epochs that somebody holds, given as bits; those below both channels (`alive`) share two. */
const ranksOf = (held: number, alive: number, readEpoch: number): number[] => {
  const ranks = [0];
  let rank = 0;
  let last = 0;
  for (let epoch = 1; held >> epoch !== 0; epoch++) {
    if (((held >> epoch) & 1) === 0) {
      ranks.push(0);
      continue;
    }
    const kind = epoch >= alive ? 3 : epoch < readEpoch ? 1 : 2;
    if (kind === 3 || kind !== last) rank++;
    last = kind;
    ranks.push(rank);
  }
  return ranks;
};

const rankedWork = (work: Work, lease: Lease, append: (one: Append) => Append): Work =>
  "append" in work ? { ...work, lease, append: append(work.append) } : { ...work, lease };

/** Tasks stand in the order of their own codes; where two have the same, the smaller key counts. */
export const keyOf = (state: LeaseState): string => {
  const codes = state.tasks.map(taskCode);
  if (codes.length > 2) throw new Error("keys are made for one task or two");
  if (codes.length === 1) return keyIn(state, [0], codes);
  if (codes[0] < codes[1]) return keyIn(state, [0, 1], codes);
  if (codes[0] > codes[1]) return keyIn(state, [1, 0], codes);
  return [keyIn(state, [0, 1], codes), keyIn(state, [1, 0], codes)].sort()[0];
};

const keyIn = (state: LeaseState, order: readonly number[], taskCodes: readonly number[]): string => {
  const codes = state.workers.map((worker, index) => workerCode(state, worker, index, order)).sort((a, b) => a - b);
  for (const task of order) codes.push(taskCodes[task]);
  if (state.orphan) codes.push(appendCode(state.orphan, order));
  return codes.join();
};

/** Eight numbers below 8 as one. */
const packed = (a: number, b: number, c: number, d: number, e: number, f: number, g: number, h: number): number => {
  if ((a | b | c | d | e | f | g | h) > 7) throw new Error("the model has outgrown its keys");
  return ((((((a * 8 + b) * 8 + c) * 8 + d) * 8 + e) * 8 + f) * 8 + g) * 8 + h;
};

const phases = ["taking", "running", "appending"];

const workerCode = (
  { tasks }: LeaseState,
  { paused, work }: WorkerState,
  index: number,
  order: readonly number[],
): number => {
  let flags = paused ? 1 : 0;
  for (const task of order) flags = flags * 2 + (tasks[task].record?.holder === String(index) ? 1 : 0);
  if (!work) return flags;
  const [task, phase, { epoch }] = [1 + order.indexOf(work.task), phases.indexOf(work.phase), work.lease];
  if (work.phase === "taking") return packed(flags, task, phase, epoch, work.unfenced.length, 0, 0, 0);
  if (work.phase === "running") return packed(flags, task, phase, epoch, work.position, 0, work.ends[0], work.ends[1]);
  const { from, to, sequences } = work.append;
  return packed(flags, task, phase, epoch, from, to, sequences[0], sequences[1]);
};
const appendCode = ({ task, epoch, sequences, from, to }: Append, order: readonly number[]): number =>
  packed(0, 0, 1 + order.indexOf(task), epoch, from, to, sequences[0], sequences[1]);
/** What is put out is not part of it: in every state that is gone on from it is what the position says. */
const taskCode = ({ record, channels, position, readEpoch }: TaskState): number =>
  packed(
    record ? 1 + record.untilMs + (record.released ? 2 : 0) : 0,
    record?.epoch ?? 0,
    position,
    readEpoch,
    channels[0].epoch,
    channels[0].endSequence,
    channels[1].epoch,
    channels[1].endSequence,
  );
