/** The middle of a bus whose members all meet in one place: who wants what, who holds which client id. A driver carries its calls. */
import type { Bus, BusMember, BusMessage } from "./port.ts";

/** An index of filters, such as the subscription tree of an MQTT server. */
export interface FilterIndex<T> {
  add(filter: string, value: T): void;
  remove(filter: string, value: T): void;
  match(topic: string, visit: (value: T) => void): void;
}

interface Claim<M extends BusMessage> {
  readonly end: HubEnd<M>;
  /** Settles when everybody before has let go. */
  readonly turn: Promise<void>;
  isReleased: boolean;
}

/** The members that want a filter, and when all others that publish know. */
interface Wanting<M extends BusMessage> {
  readonly members: Set<HubEnd<M>>;
  known: Promise<unknown>;
}

/** What the ends share. */
interface Middle<M extends BusMessage> {
  readonly index: FilterIndex<HubEnd<M>>;
  readonly ends: Set<HubEnd<M>>;
  readonly wanting: Map<string, Wanting<M>>;
  readonly claims: Map<string, Claim<M>>;
}

export class BusHub<M extends BusMessage> {
  readonly #middle: Middle<M>;

  /** @param newIndex makes an empty index */
  constructor(newIndex: <T>() => FilterIndex<T>) {
    this.#middle = { index: newIndex(), ends: new Set(), wanting: new Map(), claims: new Map() };
  }

  /** Adds a member; it is told what the others want. */
  join(member: BusMember<M>): Bus<M> {
    const end = new HubEnd(member, this.#middle);
    for (const filter of this.#middle.wanting.keys()) void member.wanted(filter, true);
    this.#middle.ends.add(end);
    return end;
  }
}

class HubEnd<M extends BusMessage> implements Bus<M> {
  readonly #member: BusMember<M>;
  readonly #middle: Middle<M>;
  readonly #wants = new Map<string, number>();
  readonly #asked = new Set<() => void>();
  #isGone = false;

  constructor(member: BusMember<M>, middle: Middle<M>) {
    this.#member = member;
    this.#middle = middle;
  }

  async want(filter: string): Promise<void> {
    const count = this.#wants.get(filter) ?? 0;
    this.#wants.set(filter, count + 1);
    const { wanting, index } = this.#middle;
    const entry = wanting.get(filter) ?? { members: new Set(), known: Promise.resolve() };
    if (count === 0) {
      wanting.set(filter, entry);
      entry.members.add(this);
      index.add(filter, this);
      // The first member that wants it is news to all others; the second one to the first alone.
      const { size } = entry.members;
      const told = size === 1 ? this.#others() : size === 2 ? this.#othersIn(entry.members) : [];
      entry.known = Promise.all([entry.known, ...told.map((end) => end.#tell(filter, true))]);
    }
    await entry.known;
  }

  unwant(filter: string): void {
    const count = this.#wants.get(filter) ?? 0;
    if (count > 1) this.#wants.set(filter, count - 1);
    else if (count === 1) this.#letGo(filter);
  }

  #letGo(filter: string): void {
    this.#wants.delete(filter);
    const { wanting, index } = this.#middle;
    index.remove(filter, this);
    const members = wanting.get(filter)?.members;
    members?.delete(this);
    if (members === undefined || members.size > 1) return;
    if (members.size === 0) wanting.delete(filter);
    const told = members.size === 0 ? this.#others() : [...members];
    for (const end of told) void end.#tell(filter, false);
  }

  publish(message: M): void {
    const hearing = new Set<HubEnd<M>>();
    this.#middle.index.match(message.topic, (end) => hearing.add(end));
    hearing.delete(this);
    for (const end of hearing) end.#member.heard(message);
  }

  retain(message: M): void {
    for (const end of this.#others()) end.#member.retained(message);
  }

  claim(clientId: string): Promise<void> {
    const { claims } = this.#middle;
    const before = claims.get(clientId);
    const turn = before === undefined ? Promise.resolve() : this.#after(before, clientId);
    const claim = { end: this, turn, isReleased: false };
    claims.set(clientId, claim);
    return turn;
  }

  async #after(before: Claim<M>, clientId: string): Promise<void> {
    await before.turn;
    if (before.isReleased || before.end === this || before.end.#isGone) return;
    await before.end.#answer(before.end.#member.takeOver(clientId));
  }

  release(clientId: string): void {
    const { claims } = this.#middle;
    const claim = claims.get(clientId);
    if (claim?.end !== this) return;
    claim.isReleased = true;
    // Whoever claims meanwhile still waits for those before.
    void claim.turn.then(() => {
      if (claims.get(clientId) === claim && claim.isReleased) claims.delete(clientId);
    });
  }

  leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#middle.ends.delete(this);
    for (const done of [...this.#asked]) done();
    for (const filter of [...this.#wants.keys()]) this.#letGo(filter);
    for (const [clientId, claim] of this.#middle.claims) if (claim.end === this) this.release(clientId);
  }

  #tell(filter: string, isWanted: boolean): Promise<void> {
    const told = this.#member.wanted(filter, isWanted);
    return told === undefined ? Promise.resolve() : this.#answer(told);
  }

  /** Settles with the member's answer; one that fails or leaves is not waited for. */
  #answer(answer: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#asked.delete(done);
        resolve();
      };
      this.#asked.add(done);
      answer.then(done, done);
    });
  }

  #others(): HubEnd<M>[] {
    return this.#othersIn(this.#middle.ends);
  }
  #othersIn(ends: ReadonlySet<HubEnd<M>>): HubEnd<M>[] {
    return [...ends].filter((end) => end !== this);
  }
}
