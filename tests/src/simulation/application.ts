/**
 * The application of the simulation: counts the messages of each device twice, once from the source and once from the derived stream, so that every way
 * of losing or doubling shows in a count; owes commands and alerts at known counts; and closes windows by timers.
 */
import { app, count, http, tumbling } from "headrace";

/** What a device sends: its own name for the message. */
export interface Load {
  readonly epoch: number;
  readonly n: number;
  /** Makes it larger. */
  readonly pad?: string;
}
/** What is said of one message: how many of its device were counted with it. */
export interface Counted extends Load {
  readonly count: number;
}

/** Every count that this divides owes the device a command. */
export const commandEvery = 10;
/** Counts of the second function, modulo this: 0 raises the alert, 3 clears it. */
export const alertEvery = 7;
export const alertClearedAt = 3;

export const simulated = app("simulated");
const load = simulated.stream("load", { from: http("load/:device"), partitions: 2 });
const counted = simulated.stream<Counted>("counted");
const watched = simulated.stream<Counted>("watched");
const note = simulated.command<{ count: number }>("note");

simulated.function(
  "count",
  { on: load, state: () => ({ count: 0, trail: "" }), emits: [counted] },
  ({ value }, { state, emit, device }) => {
    const { epoch, n } = value as Load;
    state.count += 1;
    // Makes journals and snapshots worth their while.
    state.trail = `${state.trail}${epoch}.${n} `.slice(-100);
    emit(counted, { epoch, n, count: state.count });
    if (state.count % commandEvery === 0) device.command(note, { count: state.count }, { within: "3s" });
  },
);

simulated.function(
  "watch",
  { on: counted, state: () => ({ count: 0 }), emits: [watched] },
  async ({ value: { epoch, n } }, { state, emit, alert }) => {
    await Promise.resolve();
    state.count += 1;
    emit(watched, { epoch, n, count: state.count });
    if (state.count % alertEvery === 0) alert.raise("busy", { count: state.count });
    if (state.count % alertEvery === alertClearedAt) alert.clear("busy");
  },
);

load
  .window(tumbling("1s", { idleAfter: "1s" }))
  .aggregate({ n: count() })
  .table("per_second");
