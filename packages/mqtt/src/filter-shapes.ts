/** The cost of matching topics against filters, bounded before a topic comes (MQTT 5.0 §4.7). */

interface Node {
  /** Filters that go through here. */
  count: number;
  name: Node | undefined;
  single: Node | undefined;
}

const newNode = (): Node => ({ count: 0, name: undefined, single: undefined });

/**
 * The shapes of a set of filters: `+` stays, every name is the same, `#` at the end is left out.
 *
 * Nodes of a {@link SubscriptionTree} that one topic visits at one depth differ in where they have `+`, for their names are the
 * topic's. So a match visits at most as many nodes as the shapes have different beginnings, which is `size`, whatever the
 * topic: bound it, and the cost of a match is bounded, however many filters there are.
 */
export class FilterShapes {
  readonly #root = newNode();
  #size = 1;

  /** Different beginnings of shapes, the empty one included. */
  get size(): number {
    return this.#size;
  }

  /** By how much `size` would grow with this filter. */
  missing(filter: string): number {
    let node: Node | undefined = this.#root;
    let missing = 0;
    for (const level of levelsOf(filter)) {
      node = level === "+" ? node?.single : node?.name;
      if (node === undefined) missing += 1;
    }
    return missing;
  }

  /** Counts a filter; the same filter may be counted several times. */
  add(filter: string): void {
    let node = this.#root;
    for (const level of levelsOf(filter)) {
      const place = level === "+" ? "single" : "name";
      let next = node[place];
      if (next === undefined) {
        next = newNode();
        node[place] = next;
        this.#size += 1;
      }
      next.count += 1;
      node = next;
    }
  }

  /** Takes back one {@link add} of this filter. */
  remove(filter: string): void {
    let node = this.#root;
    for (const level of levelsOf(filter)) {
      const place = level === "+" ? "single" : "name";
      const next = node[place];
      if (next === undefined) return;
      next.count -= 1;
      if (next.count === 0) {
        // All that is below here belongs to this filter alone.
        node[place] = undefined;
        this.#size -= chainLength(next);
        return;
      }
      node = next;
    }
  }
}

function levelsOf(filter: string): string[] {
  const levels = filter.split("/");
  if (levels[levels.length - 1] === "#") levels.pop();
  return levels;
}

function chainLength(node: Node): number {
  let length = 0;
  for (let at: Node | undefined = node; at !== undefined; at = at.name ?? at.single) length += 1;
  return length;
}

/** The shape of a filter as text, for a filter with `+`; undefined for one without, whose matching costs nothing extra. */
export function shapeOf(filter: string): string | undefined {
  if (!filter.includes("+")) return undefined;
  return levelsOf(filter)
    .map((level) => (level === "+" ? "+" : "x"))
    .join("");
}
