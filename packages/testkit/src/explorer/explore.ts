/**
 * Model checking by enumeration: every state that a model can reach, breadth first, so that the first violation found has a shortest way to it.
 * Afterwards the way back from the goals says whether every state can still reach one.
 */

/** A step that a model can take from a state. */
export interface Step<State> {
  readonly label: string;
  readonly next: State;
  /** Somebody must come back for it (wake, restart): progress must not depend on such steps where somebody is there. */
  readonly help?: boolean;
}

export interface Model<State> {
  readonly initial: State;
  steps(state: State): Iterable<Step<State>>;
  /** The same for states that behave alike (symmetry); states with one key are visited once. */
  key(state: State): string;
  /** What must never be so. */
  violation(state: State): string | undefined;
  /** Where everything is done. */
  isGoal(state: State): boolean;
  /** Whether a goal must be reachable from here without help. */
  isOnItsOwn(state: State): boolean;
}

export interface Finding {
  readonly what: string;
  /** Labels of the steps that lead there, the fewest possible. */
  readonly steps: readonly string[];
}

export interface Exploration {
  readonly states: number;
  readonly transitions: number;
  /** Steps to the state that is the furthest away. */
  readonly depth: number;
  readonly goals: number;
  readonly finding: Finding | undefined;
}

/** @throws when the model has more than `statesMax` states: a bound is better than a machine without memory */
export const explore = <State>(model: Model<State>, statesMax = 2_000_000): Exploration => {
  const ids = new Map<string, number>();
  const parents: number[] = [];
  const labels: string[] = [];
  const isGoal: boolean[] = [];
  const isOnItsOwn: boolean[] = [];
  const edges = new Edges();
  let frontier: [id: number, state: State][] = [];
  let next: [id: number, state: State][] = [];
  let depth = 0;
  const wayTo = (id: number): string[] => {
    const way: string[] = [];
    for (let at = id; parents[at] >= 0; at = parents[at]) way.push(labels[at]);
    return way.reverse();
  };
  const result = (finding: Finding | undefined): Exploration => ({
    states: parents.length,
    transitions: edges.count,
    depth,
    goals: isGoal.filter(Boolean).length,
    finding,
  });
  const visit = (state: State, parent: number, label: string): { id: number; what?: string } => {
    const key = model.key(state);
    const known = ids.get(key);
    if (known !== undefined) return { id: known };
    const id = parents.length;
    if (id >= statesMax) throw new Error(`the model has more than ${statesMax} states`);
    ids.set(key, id);
    parents.push(parent);
    labels.push(label);
    isGoal.push(model.isGoal(state));
    isOnItsOwn.push(model.isOnItsOwn(state));
    next.push([id, state]);
    const what = model.violation(state);
    return what === undefined ? { id } : { id, what };
  };

  const start = visit(model.initial, -1, "");
  if (start.what) return result({ what: start.what, steps: [] });
  for (; next.length > 0; depth++) {
    frontier = next;
    next = [];
    for (const [id, state] of frontier) {
      for (const step of model.steps(state)) {
        const found = visit(step.next, id, step.label);
        edges.add(id, found.id, step.help === true);
        if (found.what) {
          depth++;
          return result({ what: found.what, steps: wayTo(found.id) });
        }
      }
    }
  }
  depth--;
  for (const [helped, what] of [
    [true, "no way leads from here to the goal"],
    [false, "the goal is out of reach unless somebody comes back"],
  ] as const) {
    const reached = edges.backFrom(isGoal, helped);
    const stuck = reached.findIndex((isReached, id) => isReached === 0 && (helped || isOnItsOwn[id]));
    if (stuck >= 0) return result({ what, steps: wayTo(stuck) });
  }
  return result(undefined);
};

/** The steps between states, kept as numbers. */
class Edges {
  #data = new Int32Array(1 << 16);
  count = 0;

  add(from: number, to: number, help: boolean): void {
    if ((this.count + 1) * 2 > this.#data.length) {
      const grown = new Int32Array(this.#data.length * 2);
      grown.set(this.#data);
      this.#data = grown;
    }
    // The sign says whether the step needs help.
    this.#data[this.count * 2] = help ? -1 - from : from;
    this.#data[this.count * 2 + 1] = to;
    this.count++;
  }

  /** Which states have a way to a goal: 1, else 0. */
  backFrom(isGoal: readonly boolean[], helped: boolean): Uint8Array {
    const states = isGoal.length;
    const starts = new Int32Array(states + 1);
    const isUsed = (edge: number): boolean => helped || this.#data[edge * 2] >= 0;
    for (let edge = 0; edge < this.count; edge++) if (isUsed(edge)) starts[this.#data[edge * 2 + 1] + 1]++;
    for (let state = 0; state < states; state++) starts[state + 1] += starts[state];
    const filled = starts.slice();
    const sources = new Int32Array(starts[states]);
    for (let edge = 0; edge < this.count; edge++) {
      if (!isUsed(edge)) continue;
      const from = this.#data[edge * 2];
      sources[filled[this.#data[edge * 2 + 1]]++] = from < 0 ? -1 - from : from;
    }
    const reached = new Uint8Array(states);
    const queue: number[] = [];
    for (const [state, goal] of isGoal.entries()) {
      if (!goal) continue;
      reached[state] = 1;
      queue.push(state);
    }
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      for (let index = starts[at]; index < starts[at + 1]; index++) {
        const source = sources[index];
        if (reached[source] === 1) continue;
        reached[source] = 1;
        queue.push(source);
      }
    }
    return reached;
  }
}

/** A finding for people: what is wrong, and the steps one below the other. */
export const describeFinding = ({ what, steps }: Finding): string =>
  [`${what}, after ${steps.length} steps:`, ...steps.map((step, index) => `  ${index + 1}. ${step}`)].join("\n");
