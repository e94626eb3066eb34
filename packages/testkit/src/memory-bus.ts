/** A bus in memory: each member hears from the others later, in order, as over a wire. */
import { type Bus, BusHub, type BusMember, type BusMessage, type FilterIndex } from "@headrace/engine";

/** Filters that are compared one by one: exact, or ending with `#`, or with `+` for a level. */
class FilterList<T> implements FilterIndex<T> {
  readonly #entries: { readonly filter: string; readonly value: T }[] = [];

  add(filter: string, value: T): void {
    this.#entries.push({ filter, value });
  }
  remove(filter: string, value: T): void {
    const at = this.#entries.findIndex((entry) => entry.filter === filter && entry.value === value);
    if (at >= 0) this.#entries.splice(at, 1);
  }
  match(topic: string, visit: (value: T) => void): void {
    for (const { filter, value } of this.#entries) if (isMatch(filter, topic)) visit(value);
  }
}

const isMatch = (filter: string, topic: string): boolean => {
  const levels = topic.split("/");
  const wanted = filter.split("/");
  if (wanted.at(-1) === "#") {
    wanted.pop();
    if (levels.length < wanted.length) return false;
    levels.length = wanted.length;
  }
  return wanted.length === levels.length && wanted.every((level, index) => level === "+" || level === levels[index]);
};

export class MemoryBus<M extends BusMessage> {
  readonly #hub = new BusHub<M>(<T>() => new FilterList<T>());

  join(member: BusMember<M>): Bus<M> {
    let last: Promise<unknown> = Promise.resolve();
    const later = <T>(run: () => T | Promise<T>): Promise<T> => {
      const next = last.then(run);
      last = next.catch(() => undefined);
      return next;
    };
    return this.#hub.join({
      wanted: (filter, isWanted) => later(() => member.wanted(filter, isWanted)),
      heard: (message) => void later(() => member.heard(message)),
      retained: (message) => void later(() => member.retained(message)),
      // Letting go may take long, and others are heard meanwhile.
      takeOver: async (clientId) => {
        const { done } = await later(() => ({ done: member.takeOver(clientId) }));
        await done;
      },
    });
  }
}
