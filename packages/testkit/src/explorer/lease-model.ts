/**
 * The protocol of lease, fence and commit as a model to enumerate: workers take tasks over, handle their messages and append commits, and are paused,
 * crash and come back between any two steps. What is decided is decided by the engine's own functions: leases, take-over, and the log's fence.
 *
 * A task has a journal and an output log, a commit one block for each. An append is on its way for any time: also beyond the life, and the ownership,
 * of the worker that sent it. A worker attends to one task at a time: tasks share nothing but the lives of workers. Bounds: one worker at a time is
 * paused (any other may still not be scheduled for as long as one likes), and one append at a time has outlived its sender.
 */
import {
  decideAcquire,
  decideRelease,
  decideRenew,
  fencedEpoch,
  GroupFence,
  leaseAt,
  nextTakeOverStep,
} from "@headrace/engine";
import type { Model, Step } from "./explore.ts";
import {
  type Append,
  keyOf,
  type LeaseState,
  logs,
  reduced,
  type TaskState,
  type Work,
  type WorkerState,
} from "./lease-state.ts";

export interface LeaseModelOptions {
  readonly workers: number;
  readonly tasks: number;
  readonly messagesPerTask: number;
  /**
   * "full": each fence, and the reading behind them, is a step of its own; workers are paused, renew and give back. "core": what is behind the lease is
   * one step, and a worker that goes on is one that is scheduled.
   */
  readonly detail: "full" | "core";
  /** False plants the bug that the log admits whatever comes. */
  readonly fenced: boolean;
}

/** Time is a step of its own ("expires"): a lease is over when its end is 0. */
const nowMs = 0;
const ttlMs = 1;
const idle: WorkerState = { paused: false, work: undefined };

export const leaseModel = (options: LeaseModelOptions): Model<LeaseState> => ({
  initial: {
    workers: Array.from({ length: options.workers }, () => idle),
    tasks: Array.from({ length: options.tasks }, () => ({
      record: undefined,
      channels: logs.map(() => ({ epoch: 0, endSequence: 0 })),
      position: 0,
      out: [],
      readEpoch: 0,
      broken: undefined,
    })),
    orphan: undefined,
  },
  *steps(state) {
    for (const one of allSteps(state, options)) yield { ...one, next: reduced(one.next, options.messagesPerTask) };
  },
  key: keyOf,
  violation: ({ tasks }) => {
    for (const { broken, out, position } of tasks) {
      if (broken) return broken;
      if (out.some((message, index) => message !== index))
        return `the output is ${out.join(", ")}: a message is there twice, or lost`;
      if (out.length !== position) return `the position is ${position}, the output has ${out.length} messages`;
    }
    return undefined;
  },
  isGoal: ({ tasks }) => tasks.every(({ position }) => position === options.messagesPerTask),
  isOnItsOwn: () => true,
});

function* allSteps(state: LeaseState, options: LeaseModelOptions): Generator<Step<LeaseState>> {
  const { orphan } = state;
  if (orphan)
    yield step("the append of a former life arrives", arrived({ ...state, orphan: undefined }, orphan, options).state);
  for (let worker = 0; worker < state.workers.length; worker++) yield* stepsOf(state, worker, options);
  for (const [task, { record }] of state.tasks.entries()) {
    if (record && leaseAt(record, nowMs))
      yield step(`the lease on t${task} expires`, withTask(state, task, { record: { ...record, untilMs: nowMs } }));
  }
}

const step = (label: string, next: LeaseState, help = false): Step<LeaseState> => ({ label, next, help });
const withTask = (state: LeaseState, task: number, change: Partial<TaskState>): LeaseState => ({
  ...state,
  tasks: state.tasks.map((one, index) => (index === task ? { ...one, ...change } : one)),
});
const withWorker = (state: LeaseState, worker: number, change: Partial<WorkerState>): LeaseState => ({
  ...state,
  workers: state.workers.map((one, index) => (index === worker ? { ...one, ...change } : one)),
});

function* stepsOf(state: LeaseState, worker: number, options: LeaseModelOptions): Generator<Step<LeaseState>> {
  const { paused, work } = state.workers[worker];
  const who = `w${worker}`;
  const set = (change: Partial<WorkerState>): LeaseState => withWorker(state, worker, change);
  // What was sent arrives whatever has become of its sender.
  if (work?.phase === "appending") {
    const { state: after, admitted } = arrived(state, work.append, options);
    const { task, lease, append } = work;
    const goesOn: Work = {
      task,
      lease,
      phase: "running",
      position: append.to,
      ends: append.sequences.map((sequence, log) => sequence + recordsOf(append, log)),
    };
    yield step(
      `${who}'s append arrives: ${admitted ? "stored" : "refused"}`,
      withWorker(after, worker, { work: admitted ? goesOn : undefined }),
    );
  }
  if (paused) yield step(`${who} wakes`, set({ paused: false }), true);
  if (work) {
    const orphan = work.phase === "appending" ? work.append : state.orphan;
    yield step(`${who} crashes and starts again`, { ...set({ paused: false, work: undefined }), orphan });
  }
  if (paused) return;
  if (!work) {
    for (let task = 0; task < state.tasks.length; task++) yield* acquire(state, worker, task);
    return;
  }
  if (options.detail === "full" && !state.workers.some((one) => one.paused))
    yield step(`${who} is paused`, set({ paused: true }));
  if (options.detail === "full") yield* renew(state, worker, work);
  const { task, lease } = work;
  const { record } = state.tasks[task];
  if (work.phase === "taking") {
    let [taken, label] = nextOfTakeOver(state, worker, work);
    for (
      let at = taken.workers[worker].work;
      options.detail === "core" && at?.phase === "taking";
      at = taken.workers[worker].work
    )
      [taken, label] = nextOfTakeOver(taken, worker, at);
    yield step(label, taken);
  } else if (work.phase === "running") {
    for (let to = work.position + 1; to <= options.messagesPerTask; to++) {
      const append: Append = { task, epoch: lease.epoch, sequences: work.ends, from: work.position, to };
      yield step(
        `${who} handles messages ${work.position} to ${to - 1} of t${task} and sends its commit`,
        set({ work: { task, lease, phase: "appending", append } }),
      );
    }
    const released = options.detail === "full" ? decideRelease(record, lease) : undefined;
    if (released)
      yield step(`${who} gives t${task} back`, withTask(set({ work: undefined }), task, { record: released }));
  }
}

/** The next step of a take-over, as the engine says it. */
const nextOfTakeOver = (
  state: LeaseState,
  worker: number,
  work: Extract<Work, { phase: "taking" }>,
): [LeaseState, string] => {
  const { task, lease, unfenced } = work;
  const { channels, position, readEpoch } = state.tasks[task];
  const next = nextTakeOverStep({ wanted: true, lease, unfenced, read: false });
  if (next.kind === "fence") {
    const label = `w${worker} fences ${next.logId === 0 ? "the journal" : "the output"} of t${task}`;
    const epoch = fencedEpoch(channels[next.logId].epoch, next.epoch);
    if (epoch === undefined) return [withWorker(state, worker, { work: undefined }), `${label}: refused`];
    const raised = channels.map((channel, log) => (log === next.logId ? { ...channel, epoch } : channel));
    const fenced = withWorker(state, worker, { work: { ...work, unfenced: unfenced.slice(1) } });
    return [withTask(fenced, task, { channels: raised }), label];
  }
  const ends = channels.map(({ endSequence }) => endSequence);
  const running = withWorker(state, worker, { work: { task, lease, phase: "running", position, ends } });
  const read = withTask(running, task, { readEpoch: Math.max(readEpoch, lease.epoch) });
  return [read, `w${worker} reads position ${position} of t${task}, epoch ${lease.epoch}`];
};

function* acquire(state: LeaseState, worker: number, task: number): Generator<Step<LeaseState>> {
  const { record, position } = state.tasks[task];
  // Done, and with nobody who could still change it: see the reductions.
  if (!record && position > 0) return;
  const decision = decideAcquire(record, { task: String(task), holder: String(worker) }, nowMs, ttlMs);
  if (decision.kind === "wait") return;
  const lease = leaseAt(decision.record, nowMs);
  if (!lease) return;
  const work: Work = { task, lease, phase: "taking", unfenced: logs };
  yield step(
    `w${worker} acquires t${task} (${decision.because}, position ${position})`,
    withTask(withWorker(state, worker, { work }), task, { record: decision.record }),
  );
}

function* renew(state: LeaseState, worker: number, { task, lease }: Work): Generator<Step<LeaseState>> {
  const { record } = state.tasks[task];
  const decision = decideRenew(record, lease, nowMs, ttlMs);
  if (decision.kind === "lost")
    yield step(`w${worker} learns that it has lost t${task}`, withWorker(state, worker, { work: undefined }));
  else if (decision.record.untilMs !== record?.untilMs)
    yield step(`w${worker} renews its lease on t${task}`, withTask(state, task, { record: decision.record }));
}

const recordsOf = ({ from, to }: Append, log: number): number => (log === 0 ? 1 : to - from);

/** The log decides about an append, with what every log decides with. */
const arrived = (
  state: LeaseState,
  append: Append,
  { fenced }: LeaseModelOptions,
): { state: LeaseState; admitted: boolean } => {
  const { channels, out, readEpoch } = state.tasks[append.task];
  const fence = new GroupFence(({ logId }) => channels[logId]);
  const headers = logs.map((logId) => ({
    logId,
    writer: 0,
    epoch: append.epoch,
    sequence: append.sequences[logId],
    recordCount: recordsOf(append, logId),
  }));
  if (fenced && fence.admit(headers)) return { state, admitted: false };
  if (!fenced) for (const header of headers) fence.note(header);
  return {
    admitted: true,
    state: withTask(state, append.task, {
      channels: channels.map((channel) => fence.ends.get(channel) ?? channel),
      position: append.to,
      out: [...out, ...Array.from({ length: append.to - append.from }, (_, index) => append.from + index)],
      ...(append.epoch < readEpoch && {
        broken: `a commit of epoch ${append.epoch} was stored behind one that had read with epoch ${readEpoch}`,
      }),
    }),
  };
};
