/** From accepted events to durable groups. What arrives while a group is being stored forms the next one. */
import type { InternedString } from "@headrace/engine";
import type { HeadraceError } from "@headrace/sdk";
import { checksum, type GroupSource } from "../log/index.ts";
import type { PartitionWriter, WriterGroup } from "./partition-writer.ts";
import type { Target } from "./routes.ts";
import type { Key } from "./stream-state.ts";

/** Somebody who waits for a group: a connection with acknowledgements, a request, messages to fan out. */
export interface GroupMember {
  /** The group takes no more: what comes now belongs to the next. */
  sealed(): void;
  /** The group is durable, or `error` says why nothing of it was stored. */
  settled(error: HeadraceError | undefined): void;
}

/** Who an event comes from. */
export interface Publisher {
  readonly client: InternedString;
  /** Device and key where the topic names none: the identity, else the client id. */
  readonly device: Key;
}

/** The part of the log that intake needs. */
export interface GroupLog {
  addSource(source: GroupSource): () => void;
  requestFlush(lingerMs?: number): void;
}

/** Bytes that an event costs beside its payload, about. */
const overheadBytes = 48;
/** A group below this many events lets the next one linger. */
const smallGroup = 32;

export class Ingest implements GroupSource, WriterGroup {
  readonly #log: GroupLog;
  readonly #waitingBytesMax: number;
  readonly #lingerMsMax: number;
  #writers: PartitionWriter[] = [];
  #sealedWriters: PartitionWriter[] = [];
  #members: GroupMember[] = [];
  #sealedMembers: GroupMember[] = [];
  #waitingBytes = 0;
  #openBytes = 0;
  #count = 0;
  #asked = false;
  #lingering = false;
  #lastCount = smallGroup;
  #lastSettledMs = 0;
  #paused: (() => void)[] = [];
  #fullSinceMs: number | undefined;
  #extra: (() => Uint8Array | undefined)[] = [];
  /** Sealed blocks of other threads. */
  #given: Uint8Array[] = [];
  #inFlight = false;
  #sendersWaiting = 0;
  /** Connections that send messages with acknowledgement. */
  senders = 0;
  /** Whether a group without blocks has to be stored all the same: something else goes with it. */
  carries: () => boolean = () => false;
  /** Called before each group is sealed, whatever asked for it: what can wait for a group goes into this one. */
  beforeGroup: (() => void) | undefined;
  /** Called after each group, with nothing open: maintenance that must see a quiet state. */
  afterGroup: ((stored: boolean) => void) | undefined;
  /** Called when everybody has been told of a durable group: what was written to sockets goes out. */
  afterTurn: (() => void) | undefined;
  repeated = 0;
  /** The writer that took the last event that {@link accept} let through. */
  lastWriter: PartitionWriter | undefined;

  /** @param lingerMs longest wait of a small group for company */
  constructor(log: GroupLog, waitingBytesMax: number, lingerMs: number) {
    this.#log = log;
    this.#lingerMsMax = lingerMs;
    this.#waitingBytesMax = waitingBytesMax;
    log.addSource(this);
  }

  /** Bytes that are accepted and not durable. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }
  get isFull(): boolean {
    return this.#waitingBytes >= this.#waitingBytesMax;
  }
  get isHalfFull(): boolean {
    return this.#waitingBytes >= this.#waitingBytesMax / 2;
  }
  /** For how long there has been no room for somebody. */
  fullForMs(nowMs: number): number {
    return this.#fullSinceMs === undefined ? 0 : nowMs - this.#fullSinceMs;
  }
  get waitingBytesMax(): number {
    return this.#waitingBytesMax;
  }
  /** True when a flush is due or running. */
  get isBusy(): boolean {
    return this.#asked || this.#inFlight;
  }

  /** Blocks of another kind that go into each group with it: asked once per group. */
  addBlocks(source: () => Uint8Array | undefined): void {
    this.#extra.push(source);
  }

  /**
   * Takes one event for one stream; false when it is a repeat, which is acknowledged with the group like any other.
   * @throws HR_EVENT_TOO_LARGE
   */
  accept(
    target: Target,
    publisher: Publisher,
    key: Key | undefined,
    flags: number,
    arrivalMs: number,
    source: Uint8Array,
    payloadStart: number,
    payloadEnd: number,
    properties: Uint8Array | undefined,
    deviceEpoch: number,
    deviceSequence: number,
  ): boolean {
    if (
      deviceSequence >= 0 &&
      !target.stream.marks.pass(target.markOf(publisher.device.text), deviceEpoch, deviceSequence)
    ) {
      this.repeated += 1;
      this.requestGroup();
      return false;
    }
    const stream = target.stream;
    const used = key ?? target.key ?? publisher.device;
    const writer = used === target.key ? target.writer! : stream.writerOf(used);
    this.append(
      writer,
      target.topic,
      used,
      publisher.client,
      flags,
      arrivalMs,
      source,
      payloadStart,
      payloadEnd,
      properties,
      deviceEpoch,
      deviceSequence,
    );
    return true;
  }

  /** Takes one record for a channel. */
  append(
    writer: PartitionWriter,
    topic: InternedString,
    key: InternedString,
    client: InternedString,
    flags: number,
    arrivalMs: number,
    source: Uint8Array,
    payloadStart: number,
    payloadEnd: number,
    properties: Uint8Array | undefined,
    deviceEpoch: number,
    deviceSequence: number,
  ): void {
    this.lastWriter = writer;
    writer.append(
      topic,
      key,
      client,
      flags,
      arrivalMs,
      source,
      payloadStart,
      payloadEnd,
      properties,
      deviceEpoch,
      deviceSequence,
    );
    const bytes = payloadEnd - payloadStart + overheadBytes + (properties === undefined ? 0 : properties.byteLength);
    this.#openBytes += bytes;
    this.#waitingBytes += bytes;
    this.#count += 1;
    if (!this.#asked) this.requestGroup();
    else if (this.#lingering && this.#count >= smallGroup) this.#hurry();
  }

  opened(writer: PartitionWriter): void {
    this.#writers.push(writer);
  }

  /** Takes what another thread has sealed into the open group, which is asked for at once: it has waited for company already. */
  take(blocks: readonly Uint8Array[], member: GroupMember): void {
    this.#given.push(...blocks);
    this.#members.push(member);
    this.#asked = true;
    this.#hurry();
  }

  /** Settles when everything that has been accepted so far is stored or refused. */
  whenSettled(): Promise<void> {
    if (!this.isBusy) return Promise.resolve();
    return new Promise((resolve) => {
      this.join({ sealed: () => undefined, settled: () => resolve() });
      this.requestGroup();
    });
  }

  /** Adds a member to the open group; the caller adds itself once per group. */
  join(member: GroupMember): void {
    this.#members.push(member);
  }

  /** As {@link join}, for a connection: once every sender waits for this group, waiting longer would bring nothing. */
  joinSender(member: GroupMember): void {
    this.#members.push(member);
    this.#sendersWaiting += 1;
    if (this.#lingering && this.#sendersWaiting >= this.senders) this.#hurry();
  }

  requestGroup(): void {
    if (this.#asked) return;
    this.#asked = true;
    const lingerMs = this.#lingerMs();
    this.#lingering = lingerMs > 0;
    this.#log.requestFlush(lingerMs);
  }

  #hurry(): void {
    this.#lingering = false;
    this.#log.requestFlush();
  }

  /** How long the group may wait for more events: at low rates one sync then serves several messages (ADR 0001). */
  #lingerMs(): number {
    const isSoon = performance.now() - this.#lastSettledMs < 2 * this.#lingerMsMax;
    return isSoon && this.#lastCount < smallGroup ? this.#lingerMsMax : 0;
  }

  /** Calls `resume` once there is room again. */
  pauseUntilRoom(resume: () => void): void {
    this.#fullSinceMs ??= performance.now();
    this.#paused.push(resume);
  }

  collect(): readonly Uint8Array[] {
    this.beforeGroup?.();
    this.#asked = false;
    this.#lingering = false;
    const blocks: Uint8Array[] = [];
    this.#sealedWriters = this.#writers;
    this.#sealedMembers = this.#members;
    this.#writers = [];
    this.#members = [];
    this.#openBytes = 0;
    this.#lastCount = this.#count;
    this.#count = 0;
    this.#sendersWaiting = 0;
    for (const writer of this.#sealedWriters) writer.seal(blocks, checksum);
    for (const extra of this.#extra) {
      const block = extra();
      if (block) blocks.push(block);
    }
    if (this.#given.length > 0) {
      blocks.push(...this.#given);
      this.#given = [];
    }
    for (const member of this.#sealedMembers) member.sealed();
    this.#inFlight = true;
    // Repeats and refusals alone: all that they stand for is durable already.
    if (blocks.length === 0 && !this.carries()) this.settled();
    return blocks;
  }

  settled(error?: HeadraceError): void {
    this.#inFlight = false;
    const stored = error === undefined;
    const members = this.#sealedMembers;
    for (const writer of this.#sealedWriters) writer.settled(stored);
    this.#sealedWriters = [];
    this.#sealedMembers = [];
    if (!stored) this.#refuseOpen(members);
    this.#waitingBytes = this.#openBytes;
    this.#lastSettledMs = performance.now();
    for (const member of members) member.settled(error);
    this.afterGroup?.(stored);
    this.#resume();
  }

  turnEnded(): void {
    this.afterTurn?.();
  }

  /** What came behind a group that was not stored may not be stored before it: the order of a device would break. */
  #refuseOpen(members: GroupMember[]): void {
    for (const writer of this.#writers) writer.discard();
    for (const member of this.#members) {
      member.sealed();
      if (!members.includes(member)) members.push(member);
    }
    this.#writers = [];
    this.#members = [];
    this.#given = [];
    this.#openBytes = 0;
    this.#count = 0;
  }

  #resume(): void {
    if (this.#paused.length === 0 || this.isFull) return;
    const paused = this.#paused;
    this.#paused = [];
    this.#fullSinceMs = undefined;
    setImmediate(() => {
      for (const resume of paused) resume();
    });
  }
}
