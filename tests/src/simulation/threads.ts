/**
 * What runs in threads of its own in a node, here in the one thread of the simulation: function workers with messages that take their time, the log's
 * maintenance, and compaction. Workers die, and a dead one may go on for a while without knowing: its commits are tried behind its successor's start.
 */

import type { Files, Log } from "@headrace/engine";
import type { AppDefinition } from "@headrace/sdk";
import { type Maintenance, maintenanceSteps } from "@headrace/server/log";
import type { Compactor } from "@headrace/server/runtime";
import {
  compactSnapshot,
  type FromWorker,
  FunctionTasks,
  type StartFunctionThread,
  type ToWorker,
} from "@headrace/server/runtime";
import type { Chance } from "./chance.ts";

export interface ThreadsOptions {
  readonly chance: Chance;
  readonly files: Files;
  readonly definition: AppDefinition;
  /** Where a zombie tries its commit. */
  readonly append: (blocks: readonly Uint8Array[]) => Promise<void>;
  readonly onZombie: (outcome: "stored" | "refused") => void;
}

/** Messages in one direction, in order; those that wait are handed over together. */
class Mail<Message> {
  readonly #chance: Chance;
  readonly #take: (message: Message) => void;
  #waiting: Message[] = [];
  #isAsked = false;

  constructor(chance: Chance, take: (message: Message) => void) {
    this.#chance = chance;
    this.#take = take;
  }

  post(message: Message): void {
    this.#waiting.push(message);
    if (this.#isAsked) return;
    this.#isAsked = true;
    const run = (): void => {
      this.#isAsked = false;
      for (const one of this.#waiting.splice(0)) this.#take(one);
    };
    // A pause now and then: the thread had no turn.
    if (this.#chance.of(0.02)) setTimeout(run, this.#chance.upTo(200));
    else setImmediate(run);
  }
}

interface Running {
  readonly name: string;
  readonly die: () => void;
}

export class SimulatedThreads {
  readonly #options: ThreadsOptions;
  #running: Running[] = [];
  /** Commits of dead workers, by task. */
  readonly #zombies = new Map<string, (readonly Uint8Array[])[]>();

  constructor(options: ThreadsOptions) {
    this.#options = options;
  }

  readonly startThread: StartFunctionThread = (name, _bundleUrl, events) => {
    const { chance, definition } = this.#options;
    let fate: "alive" | "dead" | "zombie" = "alive";
    const toHost = new Mail<FromWorker>(chance, (message) => {
      if (fate === "alive") {
        if (message.kind === "ready") this.#tryZombies(message.task);
        events.onMessage(message);
      } else if (fate === "zombie" && message.kind === "commit") {
        const commits = this.#zombies.get(message.task) ?? [];
        this.#zombies.set(message.task, commits);
        commits.push(message.blocks);
      }
    });
    let tasks: FunctionTasks | undefined;
    const toWorker = new Mail<ToWorker | "load">(chance, (message) => {
      if (fate === "dead") return;
      if (message === "load") tasks = new FunctionTasks(definition, (answer) => toHost.post(answer));
      else tasks?.onMessage(message);
    });
    toWorker.post("load");
    const die = (): void => {
      if (fate !== "alive") return;
      fate = chance.of(0.5) ? "zombie" : "dead";
      this.#running = this.#running.filter((running) => running.die !== die);
      setImmediate(events.onExit);
    };
    this.#running.push({ name, die });
    return { post: (message) => toWorker.post(message), terminate: async () => die() };
  };

  /** A worker dies. False when there is none. */
  killOne(): boolean {
    const victim = this.#running[this.#options.chance.below(this.#running.length)];
    victim?.die();
    return victim !== undefined;
  }

  #tryZombies(task: string): void {
    const { chance, append, onZombie } = this.#options;
    const commits = this.#zombies.get(task) ?? [];
    this.#zombies.delete(task);
    for (const blocks of commits) {
      setTimeout(() => {
        append(blocks).then(
          () => onZombie("stored"),
          (error: { code?: string }) => {
            if (error.code === "HR_FENCED") onZombie("refused");
          },
        );
      }, chance.upTo(100));
    }
  }

  readonly startMaintenance = (): Maintenance => {
    const steps = maintenanceSteps(this.#options.files);
    const inTurn = this.#turns();
    return {
      prepare: (...args) => inTurn(() => steps.prepare(...args)),
      rewrite: (...args) => inTurn(() => steps.rewrite(...args)),
      removeSegment: (...args) => inTurn(() => steps.removeSegment(...args)),
      dropHistory: (...args) => inTurn(() => steps.dropHistory(...args)),
      close: () => inTurn(() => undefined),
    };
  };

  readonly newCompactor = (log: Log): Compactor => {
    const inTurn = this.#turns();
    return {
      compact: (request) => inTurn(() => compactSnapshot(request, log, this.#options.files)),
      close: () => Promise.resolve(),
    };
  };

  /** Runs one after the other, each a while after it was asked for. */
  #turns(): <Value>(run: () => Value | Promise<Value>) => Promise<Value> {
    const { chance } = this.#options;
    let last: Promise<unknown> = Promise.resolve();
    return (run) => {
      const next = last
        .catch(() => undefined)
        .then(() => new Promise<void>((resolve) => void setTimeout(resolve, chance.upTo(30))))
        .then(run);
      last = next;
      return next;
    };
  }
}
