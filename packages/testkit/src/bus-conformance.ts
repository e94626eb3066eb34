/** What every driver of the Bus port does, as tests: run it against each of them. The functions of the test runner are arguments. */
import type { Bus, BusMember } from "@headrace/engine";
import type { Runner } from "./log-conformance.ts";

/** The messages of the suite. */
export interface TestMessage {
  readonly topic: string;
  readonly text: string;
}

/** A bus under test. */
export interface OpenBus {
  join(member: BusMember<TestMessage>): Promise<Bus<TestMessage>>;
  close(): Promise<void>;
}

/** A member that writes down what it hears. */
class Listener implements BusMember<TestMessage> {
  readonly seen: string[] = [];
  readonly wants: string[] = [];
  /** Holds back the end of a take-over. */
  letGo: Promise<void> = Promise.resolve();
  readonly #waiting: (() => void)[] = [];

  wanted(filter: string, isWanted: boolean): void {
    if (isWanted) this.wants.push(filter);
    else this.wants.splice(this.wants.indexOf(filter), 1);
    this.#wake();
  }
  heard({ text }: TestMessage): void {
    this.#see(text);
  }
  retained({ text }: TestMessage): void {
    this.#see(`retained ${text}`);
  }
  takeOver(clientId: string): Promise<void> {
    this.#see(`lost ${clientId}`);
    return this.letGo;
  }
  #see(text: string): void {
    this.seen.push(text);
    this.#wake();
  }
  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
  sees(text: string): Promise<void> {
    return this.until(() => this.seen.includes(text));
  }
}

const message = (topic: string, text = topic): TestMessage => ({ topic, text });

export const busConformance = (open: () => Promise<OpenBus>, { test, equal }: Runner): void => {
  const withMembers = async (
    run: (members: { readonly bus: Bus<TestMessage>; readonly ear: Listener }[], open: OpenBus) => Promise<void>,
  ): Promise<void> => {
    const opened = await open();
    try {
      const members = [];
      for (let index = 0; index < 3; index += 1) {
        const ear = new Listener();
        members.push({ bus: await opened.join(ear), ear });
      }
      await run(members, opened);
    } finally {
      await opened.close();
    }
  };

  test("a message reaches those that want it, once each, and never its publisher", () =>
    withMembers(async ([a, b, c]) => {
      await a!.bus.want("news/#");
      await b!.bus.want("news/#");
      await b!.bus.want("news/+");
      await b!.bus.want("other");
      a!.bus.publish(message("news/1"));
      a!.bus.publish(message("other"));
      await b!.ear.sees("other");
      equal(b!.ear.seen, ["news/1", "other"]);
      c!.bus.publish(message("news/2"));
      await a!.ear.sees("news/2");
      await b!.ear.sees("news/2");
      equal([a!.ear.seen, c!.ear.seen], [["news/2"], []]);
    }));

  test("once a want has settled, every other member knows of it", () =>
    withMembers(async ([a, b, c]) => {
      await a!.bus.want("x");
      equal([b!.ear.wants, c!.ear.wants, a!.ear.wants], [["x"], ["x"], []]);
      await b!.bus.want("x");
      equal([b!.ear.wants, c!.ear.wants, a!.ear.wants], [["x"], ["x"], ["x"]]);
      b!.bus.unwant("x");
      await a!.ear.until(() => a!.ear.wants.length === 0);
      equal([b!.ear.wants, c!.ear.wants], [["x"], ["x"]]);
      a!.bus.unwant("x");
      await c!.ear.until(() => c!.ear.wants.length === 0);
      await b!.ear.until(() => b!.ear.wants.length === 0);
    }));

  test("wants are counted, and one that is let go is no longer heard", () =>
    withMembers(async ([a, b]) => {
      await a!.bus.want("x");
      await a!.bus.want("x");
      await a!.bus.want("end");
      a!.bus.unwant("x");
      // What a member wants later, it learns behind what it said before.
      await a!.bus.want("y");
      b!.bus.publish(message("x", "1"));
      await a!.ear.sees("1");
      a!.bus.unwant("x");
      await b!.ear.until(() => !b!.ear.wants.includes("x"));
      b!.bus.publish(message("x", "2"));
      b!.bus.publish(message("end"));
      await a!.ear.sees("end");
      equal(a!.ear.seen, ["1", "end"]);
    }));

  test("a member that joins later learns what is wanted", () =>
    withMembers(async ([a], opened) => {
      await a!.bus.want("x");
      const late = new Listener();
      const bus = await opened.join(late);
      await late.until(() => late.wants.includes("x"));
      bus.publish(message("x"));
      await a!.ear.sees("x");
    }));

  test("what one member publishes and retains is heard in its order", () =>
    withMembers(async ([a, b]) => {
      await b!.bus.want("#");
      const said: string[] = [];
      for (let n = 0; n < 200; n += 1) {
        if (n % 3 === 0) {
          a!.bus.retain(message("t", String(n)));
          said.push(`retained ${n}`);
        } else {
          a!.bus.publish(message("t", String(n)));
          said.push(String(n));
        }
      }
      await b!.ear.sees(said.at(-1) as string);
      equal(b!.ear.seen, said);
    }));

  test("what is retained reaches everybody else without being wanted", () =>
    withMembers(async ([a, b, c]) => {
      a!.bus.retain(message("t", "kept"));
      await b!.ear.sees("retained kept");
      await c!.ear.sees("retained kept");
      equal(a!.ear.seen, []);
    }));

  test("a claim waits until the holder has let go, and claims of one id come one after the other", () =>
    withMembers(async ([a, b, c]) => {
      const order: string[] = [];
      await a!.bus.claim("id");
      const gate = Promise.withResolvers<void>();
      a!.ear.letGo = gate.promise;
      const second = b!.bus.claim("id").then(() => order.push("b"));
      const third = c!.bus.claim("id").then(() => order.push("c"));
      await a!.ear.sees("lost id");
      await b!.bus.claim("another");
      equal([order, b!.ear.seen], [[], []]);
      gate.resolve();
      await third;
      await second;
      equal([order, a!.ear.seen, b!.ear.seen, c!.ear.seen], [["b", "c"], ["lost id"], ["lost id"], []]);
    }));

  test("an id that was let go is free, and a late release takes nothing from its new holder", () =>
    withMembers(async ([a, b, c]) => {
      await a!.bus.claim("id");
      a!.bus.release("id");
      await a!.bus.claim("behind");
      await b!.bus.claim("id");
      equal(a!.ear.seen, []);
      a!.bus.release("id");
      await a!.bus.claim("behind");
      await c!.bus.claim("id");
      equal(b!.ear.seen, ["lost id"]);
      await c!.bus.claim("id");
      equal(c!.ear.seen, []);
    }));

  test("whoever releases while it still waits does not let others overtake those before", () =>
    withMembers(async ([a, b, c]) => {
      await a!.bus.claim("id");
      const gate = Promise.withResolvers<void>();
      a!.ear.letGo = gate.promise;
      let isGranted = false;
      void b!.bus.claim("id");
      b!.bus.release("id");
      await b!.bus.claim("behind");
      const third = c!.bus.claim("id").then(() => {
        isGranted = true;
      });
      await a!.ear.sees("lost id");
      await c!.bus.claim("another");
      equal(isGranted, false);
      gate.resolve();
      await third;
    }));

  test("a member that leaves holds nothing back", () =>
    withMembers(async ([a, b, c]) => {
      await a!.bus.want("x");
      await a!.bus.claim("id");
      await a!.bus.claim("another");
      a!.ear.letGo = new Promise(() => undefined);
      const waiting = b!.bus.claim("id");
      await a!.ear.sees("lost id");
      a!.bus.leave();
      await waiting;
      await b!.bus.claim("another");
      await b!.ear.until(() => b!.ear.wants.length === 0);
      await c!.bus.want("y");
      b!.bus.publish(message("x"));
      b!.bus.publish(message("y"));
      await c!.ear.sees("y");
      equal(a!.ear.seen, ["lost id"]);
    }));
};
