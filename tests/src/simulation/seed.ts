/**
 * One seed: a node on a virtual clock and a simulated disk lives several lives, with devices that go on from life to life. Lives end by a power cut in the
 * middle of a call or between two, by a kill, by a failed disk or by a proper stop; the last one runs without faults until everything is worked off, and
 * is then judged. The seed decides everything: same seed, same calls of the disk with the same bytes, told by the digest.
 */
import type { HeadraceError } from "@headrace/sdk";
import {
  type DiskEvent,
  type DiskFaults,
  noFaults,
  SimulatedDisk,
  seededRandom,
  VirtualLoop,
} from "@headrace/testkit/simulation";
import { simulated } from "./application.ts";
import { Chance } from "./chance.ts";
import { probeDamage } from "./damage.ts";
import { Devices } from "./devices.ts";
import { judge } from "./evidence.ts";
import { type SimulatedNode, startSimulatedNode } from "./node.ts";
import { Marks } from "./rare-paths.ts";

export interface SeedResult {
  readonly seed: number;
  /** Empty when every promise held. */
  readonly violations: readonly string[];
  readonly marks: readonly (readonly [string, number])[];
  /** Over every call of the disk with its bytes, and what came out. */
  readonly digest: string;
  readonly messages: number;
  readonly crashes: number;
}

/** How a life ended. */
type End = "power" | "kill" | "fatal" | "stop";

const messagesMin = 1000;
const crashesMin = 3;
const startMs = Date.UTC(2026, 0, 1);
/** Where the power goes in the middle of a call: at one of so many that match. Rare steps are aimed at, or they would be too rare. */
const cutPlaces: readonly (readonly [place: RegExp, callsMax: number])[] = [
  [/./, 60],
  [/./, 400],
  [/./, 3000],
  [/^fdatasync .*\.wal$/, 100],
  [/^fsync .*\/manifest$/, 6],
  [/\/manifest$/, 20],
  [/\.hist/, 100],
  [/\.snap/, 40],
  [/\.wal\.tmp$/, 12],
];
/** Virtual time that a life may take; beyond it something hangs. */
const patienceMs = 120_000;

export const runSeed = async (seed: number, trace?: (line: string) => void): Promise<SeedResult> => {
  const simulation = new Simulation(seed, trace);
  try {
    return await simulation.run();
  } finally {
    simulation[Symbol.dispose]();
  }
};

class Simulation implements Disposable {
  readonly #seed: number;
  readonly #chance: Chance;
  readonly #marks = new Marks();
  readonly #violations: string[] = [];
  readonly #loop: VirtualLoop;
  readonly #disk: SimulatedDisk;
  readonly #devices: Devices;
  readonly #segmentBytes: number;
  readonly #trace: (line: () => string) => void;
  readonly #onRejection = (error: unknown): void => this.#uncaught(error);
  #node: SimulatedNode | undefined;
  #end: End | undefined;
  #isStarting = false;
  /** A call has failed in this life. */
  #diskFailed = false;
  #lastCall: DiskEvent = { call: "", path: "" };
  #crashes = 0;

  constructor(seed: number, trace: ((line: string) => void) | undefined) {
    this.#seed = seed;
    this.#trace = (line) => trace?.(`${this.#loop.nowMs.toFixed(3).padStart(12)} ${line()}`);
    this.#chance = new Chance(seededRandom(seed));
    this.#loop = new VirtualLoop({ startMs, onWarning: (text) => this.#onWarning(text) }).install();
    process.on("unhandledRejection", this.#onRejection);
    this.#segmentBytes = this.#chance.one([16, 48, 96, 192]) * 1024;
    this.#disk = new SimulatedDisk({
      random: this.#chance.random,
      pass: (ms) => this.#loop.pass(ms),
      onEvent: (event) => this.#onDisk(event),
      onCut: () => {
        const mark = cutMark(this.#lastCall);
        if (mark) this.#marks.hit(mark);
        this.#endLife("power");
      },
    });
    this.#devices = new Devices(this.#chance.between(3, 10), {
      chance: this.#chance,
      loop: this.#loop,
      marks: this.#marks,
      node: () => (this.#end === undefined ? this.#node : undefined),
      trace: this.#trace,
    });
  }

  async run(): Promise<SeedResult> {
    try {
      const lives = crashesMin + this.#chance.between(1, 3);
      for (let life = 1; life < lives || this.#crashes < crashesMin; life++) {
        const target = Math.round((messagesMin * life) / (lives + 1));
        await this.#live(life, () => this.#devices.acknowledged.length >= target);
      }
      await this.#lastLife();
    } catch (error) {
      this.#violations.push(`the simulation stopped: ${error instanceof Error ? error.stack : String(error)}`);
    }
    return {
      seed: this.#seed,
      violations: this.#violations,
      marks: [...this.#marks.counts],
      digest: (this.#disk.digest >>> 0).toString(16).padStart(8, "0"),
      messages: this.#devices.sent.length,
      crashes: this.#crashes,
    };
  }

  [Symbol.dispose](): void {
    this.#loop[Symbol.dispose]();
    process.off("unhandledRejection", this.#onRejection);
  }

  // Lives.

  /** Starts a node; false when its life ended meanwhile. */
  async #start(): Promise<boolean> {
    this.#end = undefined;
    this.#isStarting = true;
    this.#diskFailed = false;
    let failure: unknown;
    const starting = startSimulatedNode({
      chance: this.#chance,
      files: this.#disk.openProcess(),
      definition: simulated.definition,
      segmentBytes: this.#segmentBytes,
      deliver: (command) => this.#devices.deliver(command),
      onFatal: (error) => this.#onFatal(error),
      onLog: (message) => this.#trace(() => message),
      onZombie: (outcome) => this.#onZombie(outcome),
    }).then(
      (node) => {
        this.#node = node;
      },
      (error) => {
        failure = error;
      },
    );
    this.#arm();
    void starting;
    await this.#loop.run(
      () => this.#node !== undefined || failure !== undefined || this.#end !== undefined,
      patienceMs,
    );
    this.#isStarting = false;
    if (this.#end !== undefined) return false;
    if (failure !== undefined) {
      if (!this.#diskFailed) throw failure;
      // A disk that fails while the node starts: it does not start.
      this.#trace(() => `the start fails: ${String(failure)}`);
      this.#endLife("fatal");
      return false;
    }
    const { recoveredCut } = (this.#node as SimulatedNode).log;
    if (recoveredCut) this.#marks.hit("a torn tail is cut");
    this.#trace(() => `the node is up${recoveredCut ? `, cut at ${recoveredCut.segment}/${recoveredCut.offset}` : ""}`);
    this.#devices.nodeStarted();
    return true;
  }

  #faultsOfLife: DiskFaults = noFaults;
  #callsToCut = 0;
  #cutAt: RegExp = /./;

  /** What will happen to the disk in this life. */
  #arm(): void {
    this.#disk.faults = this.#faultsOfLife;
    const cutAt = this.#cutAt;
    if (this.#callsToCut > 0) this.#disk.cutIn(this.#callsToCut, (call, path) => cutAt.test(`${call} ${path}`));
  }

  async #live(life: number, isLongEnough: () => boolean): Promise<void> {
    const chance = this.#chance;
    const ending = chance.one(["power", "cut", "cut", "cut", "kill", "stop", "fault"] as const);
    const [cutAt, callsMax] = chance.one(cutPlaces);
    this.#cutAt = cutAt;
    this.#callsToCut = ending === "cut" ? chance.between(1, callsMax) : 0;
    this.#faultsOfLife = {
      shortWrite: chance.of(0.3) ? 0.02 : 0,
      slowSync: chance.of(0.2) ? 0.01 : 0,
      writeError: ending === "fault" && chance.of(0.5) ? 0.004 : 0,
      syncError: ending === "fault" ? 0.004 : 0,
    };
    this.#trace(
      () => `life ${life}: ${ending}${this.#callsToCut > 0 ? ` at call ${this.#callsToCut} of ${cutAt}` : ""}`,
    );
    if (await this.#start()) {
      const troubles = this.#trouble();
      await this.#loop.run(() => this.#end !== undefined || isLongEnough(), patienceMs);
      troubles();
      this.#disk.isFull = false;
      if (this.#end === undefined) {
        if (ending === "stop") await this.#stop();
        else this.#endLife(ending === "kill" ? "kill" : "power");
      }
    }
    await this.#bury();
  }

  /** Workers die and the disk fills up, now and then; returns the end of it. */
  #trouble(): () => void {
    const chance = this.#chance;
    let isOver = false;
    const again = (meanMs: number, run: () => void): void => {
      const turn = (): void => {
        if (isOver) return;
        run();
        this.#loop.after(chance.upTo(2 * meanMs), turn);
      };
      this.#loop.after(chance.upTo(2 * meanMs), turn);
    };
    if (chance.of(0.6)) {
      again(400, () => {
        if (this.#node?.threads.killOne()) this.#marks.hit("a worker dies");
      });
    }
    if (chance.of(0.3)) {
      again(500, () => {
        this.#disk.isFull = true;
        this.#loop.after(chance.upTo(300), () => {
          this.#disk.isFull = false;
          if (this.#end === undefined) this.#marks.hit("a full disk is taken up again");
        });
      });
    }
    return () => {
      isOver = true;
    };
  }

  async #stop(): Promise<void> {
    this.#trace(() => "the node is asked to stop");
    let isStopped = false;
    void this.#node?.close().then(() => {
      isStopped = true;
    });
    await this.#loop.run(() => isStopped || this.#end !== undefined, patienceMs);
    if (isStopped) this.#endLife("stop");
  }

  /** What happens first decides how a life ends. */
  #endLife(end: End): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    if (end === "power" && this.#isStarting) this.#marks.hit("the power goes while the node starts");
    this.#devices.nodeEnded();
    this.#trace(() => `the life ends: ${end}, at ${this.#lastCall.call} ${this.#lastCall.path}`);
  }

  /** Lets what the process still does run into nothing, and leaves the disk as the end of the life leaves it. */
  async #bury(): Promise<void> {
    const end = this.#end;
    if (end !== "stop") this.#crashes += 1;
    if (end === "power" || (end === "fatal" && this.#chance.of(0.5))) {
      this.#disk.cutPower();
    } else this.#disk.kill();
    await this.#loop.settle();
    this.#loop.endProcess();
    await this.#loop.settle();
    this.#loop.endProcess();
    this.#node = undefined;
    this.#isStarting = false;
    if (this.#chance.of(0.05)) await this.#probe();
    if (this.#chance.of(0.1)) this.#damageSnapshot();
  }

  async #lastLife(): Promise<void> {
    this.#callsToCut = 0;
    this.#faultsOfLife = noFaults;
    this.#trace(() => "the last life");
    if (!(await this.#start())) throw new Error(`the last life ended: ${this.#end}`);
    const node = this.#node as SimulatedNode;
    await this.#loop.run(
      () => this.#devices.acknowledged.length >= messagesMin * 0.95 || this.#end !== undefined,
      patienceMs,
    );
    this.#devices.isSending = false;
    const { runtime } = node;
    const isIdle = (): boolean =>
      this.#end !== undefined ||
      (this.#devices.areDone &&
        runtime.pendingCommands === 0 &&
        runtime.status().every(({ lagEvents, state }) => lagEvents === 0 && state === "running"));
    await this.#loop.run(isIdle, patienceMs);
    // Windows close, history is looked through, and the outbox comes to its end.
    const quietMs = this.#loop.nowMs + 11_000;
    await this.#loop.run(() => this.#loop.nowMs >= quietMs && isIdle(), patienceMs);
    if (this.#end !== undefined) throw new Error(`the last life ended: ${this.#end}`);
    const { violations, stored, expired } = await this.#judged(node);
    this.#violations.push(...violations);
    this.#marks.hit("a command expires", expired);
    const storedNames = new Set(stored.map(({ device, epoch, sequence }) => `${device} ${epoch}.${sequence}`));
    const acknowledged = new Set(
      this.#devices.acknowledged.map(({ device, epoch, sequence }) => `${device} ${epoch}.${sequence}`),
    );
    for (const name of storedNames)
      if (!acknowledged.has(name)) this.#marks.hit("a message survives that was not acknowledged");
    for (const { device, epoch, sequence } of this.#devices.sent)
      if (!storedNames.has(`${device} ${epoch}.${sequence}`))
        this.#marks.hit("a message is gone that was not acknowledged");
  }

  async #judged(node: SimulatedNode): ReturnType<typeof judge> {
    let findings: Awaited<ReturnType<typeof judge>> | undefined;
    let failure: unknown;
    judge(node.log, this.#devices).then(
      (found) => {
        findings = found;
      },
      (error) => {
        failure = error;
      },
    );
    await this.#loop.run(() => findings !== undefined || failure !== undefined, patienceMs);
    if (!findings) throw failure;
    return findings;
  }

  // Damage.

  async #probe(): Promise<void> {
    const { violations, outcome } = await probeDamage(this.#disk, this.#chance, this.#segmentBytes);
    this.#violations.push(...violations);
    if (outcome) this.#marks.hit(outcome);
  }

  /** The newest snapshot of a task is damaged on the disk, where it has an older one. */
  #damageSnapshot(): void {
    const byTask = new Map<string, string[]>();
    for (const path of this.#disk.paths()) {
      if (!path.endsWith(".snap")) continue;
      const folder = path.slice(0, path.lastIndexOf("/"));
      byTask.set(folder, [...(byTask.get(folder) ?? []), path]);
    }
    const pairs = [...byTask.values()].filter((files) => files.length > 1);
    if (pairs.length === 0) return;
    const newest = this.#chance.one(pairs).at(-1) as string;
    const at = this.#chance.random();
    const bit = 1 << this.#chance.below(8);
    this.#trace(() => `${newest} is damaged`);
    this.#disk.damage(newest, (bytes) => {
      const index = Math.floor(at * bytes.byteLength);
      bytes[index] = (bytes[index] ?? 0) ^ bit;
    });
  }

  // What is seen.

  #onDisk(event: DiskEvent): void {
    const { call, path, fault } = event;
    const marks = this.#marks;
    if (fault === undefined) this.#lastCall = event;
    else this.#trace(() => `${fault} at ${call} ${path}`);
    if (fault === "short") marks.hit("a short write is gone on with");
    else if (fault === "slow") marks.hit("a sync takes long");
    else if (fault === "EIO") {
      this.#diskFailed = true;
      marks.hit(call === "write" ? "a write fails" : "a sync fails");
    }
    if (path.endsWith(".wal")) {
      if (call === "open wx+") marks.hit("a segment is rolled without a prepared file");
      if (call === "open r+" && !this.#isStarting) marks.hit("a segment is rolled into a prepared file");
    } else if (path.endsWith(".hist")) {
      if (call === "read" && !this.#isStarting) marks.hit("history is read");
      if (call === "unlink") marks.hit(this.#isStarting ? "left-over history is removed" : "history is deleted");
    } else if (path.endsWith("/manifest") && call === "ftruncate" && this.#isStarting)
      marks.hit("a torn line of the list of history is cut");
  }

  #onWarning(text: string): void {
    this.#trace(() => `warning: ${text}`);
    if (/is damaged and passed over/.test(text)) this.#marks.hit("a damaged snapshot is passed over");
  }

  #onFatal(error: HeadraceError): void {
    this.#trace(() => `fatal: ${error.message}`);
    this.#endLife("fatal");
  }

  #onZombie(outcome: "stored" | "refused"): void {
    if (this.#end !== undefined) return;
    if (outcome === "refused") this.#marks.hit("a zombie is refused by the fence");
    else this.#violations.push("a zombie's commit was stored");
  }

  /** A promise that nobody waited for: an error of the node, unless its life is over anyway. */
  #uncaught(error: unknown): void {
    if (this.#end === undefined)
      this.#violations.push(`unhandled rejection: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

/** The path that the power cut hit, by the file of the last call. */
const cutMark = ({ path }: DiskEvent): string | undefined => {
  if (path.includes("/history/") && path.includes(".hist")) return "the power goes while history is written";
  if (path.endsWith("/manifest")) return "the power goes while the list of history is written";
  if (path.includes(".snap")) return "the power goes while a snapshot is written";
  if (path.endsWith(".wal.tmp")) return "the power goes while a segment is prepared";
  return undefined;
};
