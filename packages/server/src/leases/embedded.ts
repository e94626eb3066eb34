/**
 * The embedded driver of the Leases port (ADR 0014). The lock of the data folder is the lease: whoever has it owns every task until its process
 * ends, paused or not. So there is one holder, nothing runs out, and what is left to do is to give epochs that never come twice.
 *
 * Epochs are taken from one count for all tasks. A range of them is reserved in the log before the first is given, so that most acquisitions
 * cost no write; what a process has not used of its range is never used.
 */
import {
  blockKind,
  type Channel,
  decideAcquire,
  decideRelease,
  decideRenew,
  type Lease,
  type LeaseRecord,
  type Leases,
  type Log,
  leaseAt,
  leaseLost,
  packBlock,
  readBlockHeader,
  readSections,
  sectionBytes,
} from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { checksum } from "../log/index.ts";

/** A start takes about one epoch per task; 2^32 epochs are four million such ranges. */
const rangeEpochs = 1024;
const reservedSection = 1;
const epochMax = 0xffffffff;

export class EmbeddedLeases implements Leases {
  readonly #log: Log;
  readonly #channel: Channel;
  readonly #writerEpoch: number;
  readonly #holder: string;
  readonly #nowMs: () => number;
  readonly #records = new Map<string, LeaseRecord>();
  /** The next epoch to give, and the first that is not reserved. */
  #next: number;
  #below: number;
  #sequence: number;
  #reserving: Promise<void> | undefined;

  private constructor(parts: {
    log: Log;
    channel: Channel;
    writerEpoch: number;
    sequence: number;
    next: number;
    holder: string;
    nowMs: () => number;
  }) {
    this.#log = parts.log;
    this.#channel = parts.channel;
    this.#writerEpoch = parts.writerEpoch;
    this.#sequence = parts.sequence;
    this.#next = parts.next;
    this.#below = parts.next;
    this.#holder = parts.holder;
    this.#nowMs = parts.nowMs;
  }

  /**
   * For the process that has the lock of the log's folder; once per process.
   * @param holder name of this node, for people
   */
  static async open(log: Log, holder: string, nowMs: () => number): Promise<EmbeddedLeases> {
    const { id: logId } = await log.open("leases", "control");
    const channel = { logId, writer: 0 };
    const writerEpoch = await log.fence(channel);
    const sequence = log.channels(logId).find(({ writer }) => writer === 0)?.endSequence ?? 0;
    const [newest] = sequence > 0 ? await log.read(channel, sequence - 1, 1) : [];
    // What the blocks of all logs say is a bound as well: of a folder from before there were leases, or one whose newest groups are lost.
    const seen = log.list("").flatMap(({ id }) => log.channels(id).map(({ epoch }) => epoch));
    const next = seen.reduce((most, epoch) => Math.max(most, epoch + 1), newest ? reservedIn(newest) : 1);
    return new EmbeddedLeases({ log, channel, writerEpoch, sequence, next, holder, nowMs });
  }

  async acquire(task: string, signal?: AbortSignal): Promise<Lease> {
    signal?.throwIfAborted();
    while (this.#next >= this.#below) await this.#reserved();
    const asked = { task, holder: this.#holder };
    const decision = decideAcquire(
      this.#records.get(task),
      asked,
      this.#nowMs(),
      Number.POSITIVE_INFINITY,
      this.#next++,
    );
    if (decision.kind === "wait") throw new Error("there is one holder: nobody can have the task");
    const { record } = decision;
    this.#records.set(task, record);
    return { task, holder: record.holder, epoch: record.epoch, untilMs: record.untilMs };
  }

  async renew(lease: Lease, signal?: AbortSignal): Promise<Lease> {
    signal?.throwIfAborted();
    const record = this.#records.get(lease.task);
    if (decideRenew(record, lease, this.#nowMs(), Number.POSITIVE_INFINITY).kind === "lost")
      throw leaseLost(record, lease);
    return lease;
  }

  async release(lease: Lease, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const record = decideRelease(this.#records.get(lease.task), lease);
    if (record) this.#records.set(lease.task, record);
  }

  async holder(task: string, signal?: AbortSignal): Promise<Lease | undefined> {
    signal?.throwIfAborted();
    return leaseAt(this.#records.get(task), this.#nowMs());
  }

  /** Acquisitions of one turn wait for the same range. */
  #reserved(): Promise<void> {
    this.#reserving ??= this.#reserve().finally(() => {
      this.#reserving = undefined;
    });
    return this.#reserving;
  }

  /** Makes a range durable before the first of it is given. @throws HR_DISK_FULL and what else an append says; the same call may be repeated */
  async #reserve(): Promise<void> {
    const below = this.#next + rangeEpochs;
    if (below > epochMax) throw new HeadraceError("HR_INTERNAL", `the epochs are used up at ${this.#next}`);
    const nowMs = this.#nowMs();
    const header = {
      ...this.#channel,
      epoch: this.#writerEpoch,
      sequence: this.#sequence,
      recordCount: 1,
      earliestMs: nowMs,
      latestMs: nowMs,
      kind: blockKind.control,
    };
    const bytes = new TextEncoder().encode(JSON.stringify({ type: "epochs", below }));
    await this.#log.append([packBlock(header, [{ type: reservedSection, bytes }], checksum)]);
    this.#log.trim(this.#channel, this.#sequence);
    this.#sequence += 1;
    this.#below = below;
  }
}

const reservedIn = (block: Uint8Array): number => {
  const bytes = sectionBytes(block, readSections(block, readBlockHeader(block)), reservedSection);
  const { type, below } = JSON.parse(new TextDecoder().decode(bytes)) as { type: string; below: number };
  if (type !== "epochs")
    throw new HeadraceError("HR_BLOCK_CORRUPT", `the log of the leases holds "${type}" where epochs were reserved`);
  return below;
};
