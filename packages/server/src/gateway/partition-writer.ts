/** One writer's channel of one log: events go into open blocks, a group seals them, its outcome moves the sequence or does not. */
import { blockBytesMax, type Checksum, EventBlockBuilder, type InternedString } from "@headrace/engine";

/** Large enough that naming topics and keys once per block costs little, small enough for a reader's step. */
const blockBytes = 256 * 1024;
const pooledMax = 32;

/** Buffers of blocks, used again: a block is in use from its first event until its group is settled. */
export class BuilderPool {
  readonly #free: EventBlockBuilder[] = [];

  take(): EventBlockBuilder {
    return this.#free.pop() ?? new EventBlockBuilder(blockBytes);
  }
  give(builder: EventBlockBuilder): void {
    builder.reset();
    if (builder.capacityBytes === blockBytes && this.#free.length < pooledMax) this.#free.push(builder);
  }
}

/** What a writer tells its group. */
export interface WriterGroup {
  /** Called with the first event that a writer takes for a group. */
  opened(writer: PartitionWriter): void;
}

export interface WriterChannel {
  readonly logId: number;
  readonly writer: number;
  readonly epoch: number;
  /** Sequence of the next record. */
  readonly sequence: number;
}

export class PartitionWriter {
  readonly logId: number;
  readonly channelWriter: number;
  readonly #channel: WriterChannel;
  readonly #pool: BuilderPool;
  readonly #group: WriterGroup;
  #sequence: number;
  #open: EventBlockBuilder | undefined;
  #full: EventBlockBuilder[] = [];
  #sealed: EventBlockBuilder[] = [];
  #sealedCount = 0;

  constructor(channel: WriterChannel, pool: BuilderPool, group: WriterGroup) {
    this.logId = channel.logId;
    this.channelWriter = channel.writer;
    this.#channel = channel;
    this.#pool = pool;
    this.#group = group;
    this.#sequence = channel.sequence;
  }

  /** Sequence behind the last durable record. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Sequence that the next event will get, if all that is open is stored. */
  get nextSequence(): number {
    let sequence = this.#sequence + this.#sealedCount + (this.#open?.recordCount ?? 0);
    for (const builder of this.#full) sequence += builder.recordCount;
    return sequence;
  }

  /** Takes one event for the group that is open. @throws HR_EVENT_TOO_LARGE when no block could hold it; nothing is changed then */
  append(
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
    let open = this.#open;
    if (open === undefined) {
      open = this.#first(payloadEnd - payloadStart + (properties?.byteLength ?? 0));
    }
    while (
      !open.append(
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
      )
    ) {
      this.#full.push(open);
      open = this.#builderFor(payloadEnd - payloadStart + (properties?.byteLength ?? 0));
      this.#open = open;
    }
  }

  #first(contentBytes: number): EventBlockBuilder {
    const builder = this.#builderFor(contentBytes);
    this.#open = builder;
    this.#group.opened(this);
    return builder;
  }

  #builderFor(contentBytes: number): EventBlockBuilder {
    // Topic, key and client id have bounds of their own (4,096 and 256 bytes), so a quarter of the block is ample for them.
    return contentBytes > blockBytes * 0.75 ? new EventBlockBuilder(blockBytesMax) : this.#pool.take();
  }

  /** Seals what is open into `blocks`. Their bytes stay until {@link settled}. */
  seal(blocks: Uint8Array[], checksum: Checksum): void {
    const { logId, writer, epoch } = this.#channel;
    const builders = this.#full;
    if (this.#open) builders.push(this.#open);
    let sequence = this.#sequence;
    for (const builder of builders) {
      if (builder.recordCount === 0) continue;
      blocks.push(builder.seal({ logId, writer, epoch, sequence }, checksum));
      sequence += builder.recordCount;
    }
    this.#sealedCount = sequence - this.#sequence;
    this.#sealed = builders;
    this.#full = [];
    this.#open = undefined;
  }

  /** The sealed blocks are durable, or were not stored at all and their sequences are free again. */
  settled(stored: boolean): void {
    if (stored) this.#sequence += this.#sealedCount;
    this.#sealedCount = 0;
    for (const builder of this.#sealed) this.#pool.give(builder);
    this.#sealed = [];
  }

  /** Forgets what is open: its senders are told that it was not stored. */
  discard(): void {
    for (const builder of this.#full) this.#pool.give(builder);
    if (this.#open) this.#pool.give(this.#open);
    this.#full = [];
    this.#open = undefined;
  }
}
