interface Node<T> {
  /** Children by level text; wildcards have their own fields. */
  children: Map<string, Node<T>> | undefined;
  single: Node<T> | undefined;
  /** Entries of filters that end here. */
  exact: Set<T> | undefined;
  /** Entries of filters that end with `#` below here. */
  multi: Set<T> | undefined;
}

/**
 * Entries by topic filter, found by topic name (MQTT 5.0 §4.7).
 *
 * What a match costs: see {@link FilterShapes}, which bounds it; a session's own share is bounded by {@link SubscriptionLimits}.
 * Entries are compared by identity; adding one twice under a filter changes nothing.
 */
export class SubscriptionTree<T> {
  readonly #root: Node<T> = newNode();
  #version = 0;
  #size = 0;

  /** Grows with every change; a match result computed at another version may be stale. */
  get version(): number {
    return this.#version;
  }

  /** Number of (filter, entry) pairs. */
  get size(): number {
    return this.#size;
  }

  /** Adds an entry under a valid filter. Returns false when it was there already. */
  add(filter: string, entry: T): boolean {
    const { levels, multi } = parse(filter);
    let node = this.#root;
    for (const level of levels) {
      if (level === "+") {
        node.single ??= newNode();
        node = node.single;
      } else {
        node.children ??= new Map();
        let child = node.children.get(level);
        if (child === undefined) {
          child = newNode();
          node.children.set(level, child);
        }
        node = child;
      }
    }
    let set = multi ? node.multi : node.exact;
    if (set === undefined) {
      set = new Set();
      if (multi) node.multi = set;
      else node.exact = set;
    }
    if (set.has(entry)) return false;
    set.add(entry);
    this.#size += 1;
    this.#version += 1;
    return true;
  }

  /** Removes an entry from a filter, and every node that is empty then. Returns false when it was not there. */
  remove(filter: string, entry: T): boolean {
    const { levels, multi } = parse(filter);
    const path = [this.#root];
    for (const level of levels) {
      const node = path[path.length - 1] as Node<T>;
      const child = level === "+" ? node.single : node.children?.get(level);
      if (child === undefined) return false;
      path.push(child);
    }
    const last = path[path.length - 1] as Node<T>;
    const set = multi ? last.multi : last.exact;
    if (set === undefined || !set.delete(entry)) return false;
    if (set.size === 0) {
      if (multi) last.multi = undefined;
      else last.exact = undefined;
    }
    for (let index = path.length - 1; index > 0 && isEmpty(path[index] as Node<T>); index -= 1) {
      const parent = path[index - 1] as Node<T>;
      const level = levels[index - 1] as string;
      if (level === "+") parent.single = undefined;
      else {
        parent.children?.delete(level);
        if (parent.children?.size === 0) parent.children = undefined;
      }
    }
    this.#size -= 1;
    this.#version += 1;
    return true;
  }

  /**
   * Calls `visit` for every entry whose filter matches the topic name; an entry with several matching filters is
   * visited once for each. A topic that begins with `$` is not matched by a leading wildcard (§4.7.2).
   *
   * @returns how many nodes were looked at
   */
  match(topic: string, visit: (entry: T) => void): number {
    const levels = topic.split("/");
    if (topic.charCodeAt(0) === 0x24) {
      const child = this.#root.children?.get(levels[0] as string);
      return child === undefined ? 1 : 1 + walk(child, levels, 1, visit);
    }
    return walk(this.#root, levels, 0, visit);
  }

  /** The matches as an array. */
  matches(topic: string): T[] {
    const found: T[] = [];
    this.match(topic, (entry) => found.push(entry));
    return found;
  }
}

// Recursion is bounded by the levels of the topic, which validateTopic bounds.
function walk<T>(node: Node<T>, levels: string[], index: number, visit: (entry: T) => void): number {
  if (node.multi !== undefined) for (const entry of node.multi) visit(entry);
  if (index === levels.length) {
    if (node.exact !== undefined) for (const entry of node.exact) visit(entry);
    return 1;
  }
  let visited = 1;
  const child = node.children?.get(levels[index] as string);
  if (child !== undefined) visited += walk(child, levels, index + 1, visit);
  if (node.single !== undefined) visited += walk(node.single, levels, index + 1, visit);
  return visited;
}

function parse(filter: string): { levels: string[]; multi: boolean } {
  const levels = filter.split("/");
  const multi = levels[levels.length - 1] === "#";
  if (multi) levels.pop();
  return { levels, multi };
}

function newNode<T>(): Node<T> {
  return { children: undefined, single: undefined, exact: undefined, multi: undefined };
}

function isEmpty<T>(node: Node<T>): boolean {
  return (
    node.children === undefined && node.single === undefined && node.exact === undefined && node.multi === undefined
  );
}
