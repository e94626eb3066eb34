/** Packs a commit into the blocks of one atomic append: outputs, effects and the journal. Numbers its channels itself. */
import { systemStreams } from "@headrace/sdk";
import { EventBlockBuilder, InternedString } from "../block/event-builder.ts";
import { blockBytesMax, blockKind, packBlock } from "../block/header.ts";
import { encodeCause } from "../block/properties.ts";
import {
  type CommitMeta,
  commitSection,
  encodeMeta,
  encodePositions,
  encodeState,
  encodeTimers,
  type StateChange,
  stateChangeBytes,
  type TimerChange,
  timerChangeBytes,
} from "./commit-format.ts";
import type { Output, OwedEffect } from "./ledger.ts";
import type { ChannelPosition } from "./positions.ts";
import type { TaskHost, TaskSpec } from "./spec.ts";

/** A section of a journal block ends at about this size, and a block that would pass the other starts a new one. */
const sectionBytesMax = 384 * 1024;
const journalBlockBytesMax = blockBytesMax - 1024;

export interface CommitContent {
  readonly positions: readonly ChannelPosition[];
  readonly state: readonly StateChange[];
  readonly timers: readonly TimerChange[];
  readonly outputs: readonly Output[];
  readonly effects: readonly OwedEffect[];
  readonly meta: CommitMeta;
}

export class CommitBuilder {
  readonly #spec: TaskSpec;
  readonly #host: TaskHost;
  readonly #ends: Map<number, number>;
  #builder: EventBlockBuilder | undefined;

  /** @param ends sequence that the next block of each log that the task writes must carry, by log id */
  constructor(spec: TaskSpec, host: TaskHost, ends: ReadonlyMap<number, number>) {
    this.#spec = spec;
    this.#host = host;
    this.#ends = new Map(ends);
  }

  /** Sequence that the next commit will have. */
  get journalSequence(): number {
    return this.#end(this.#spec.journalLogId);
  }
  #end(logId: number): number {
    return this.#ends.get(logId) ?? 0;
  }

  build(content: CommitContent): Uint8Array[] {
    const blocks: Uint8Array[] = [];
    const { timeMs } = content.meta;
    if (content.outputs.length > 0) {
      for (const { stream, logId } of this.#spec.outputs) {
        const rows = this.#rows(blocks, logId, timeMs);
        for (const output of content.outputs) {
          if (output.stream === stream) rows.add("", output.key, output.device, output.payload, output.cause);
        }
        rows.end();
      }
    }
    if (content.effects.length > 0) {
      const rows = this.#rows(blocks, this.#spec.effectsLogId, timeMs);
      for (const { id, kind, device, payload } of content.effects) rows.add(kind, device, device, payload, id);
      rows.end();
    }
    for (const sections of journalSections(content)) {
      const sequence = this.journalSequence;
      this.#ends.set(this.#spec.journalLogId, sequence + 1);
      blocks.push(
        packBlock(
          {
            ...this.#place(this.#spec.journalLogId, sequence),
            recordCount: 1,
            earliestMs: content.meta.timeMs,
            latestMs: content.meta.timeMs,
            kind: blockKind.commit,
          },
          sections,
          this.#host.checksum,
        ),
      );
    }
    return blocks;
  }

  #place(logId: number, sequence: number): { logId: number; writer: number; epoch: number; sequence: number } {
    return { logId, writer: this.#spec.journalLogId, epoch: this.#host.epoch, sequence };
  }

  /** Packs rows of one log into blocks: `add` each, then `end`. */
  #rows(
    blocks: Uint8Array[],
    logId: number,
    timeMs: number,
  ): {
    add(topic: string, key: string, client: string, payload: Uint8Array, cause: string): void;
    end(): void;
  } {
    this.#builder ??= new EventBlockBuilder(blockBytesMax);
    const builder = this.#builder;
    builder.reset();
    const end = (): void => {
      if (builder.recordCount === 0) return;
      const sequence = this.#end(logId);
      this.#ends.set(logId, sequence + builder.recordCount);
      blocks.push(builder.seal(this.#place(logId, sequence), this.#host.checksum).slice());
      builder.reset();
    };
    const strings = new Map<string, InternedString>();
    const interned = (text: string): InternedString => {
      let string = strings.get(text);
      if (!string) {
        string = new InternedString(text);
        strings.set(text, string);
      }
      return string;
    };
    return {
      add: (topicText, keyText, clientText, payload, cause) => {
        const topic = interned(topicText);
        const key = interned(keyText);
        const client = keyText === clientText ? key : interned(clientText);
        const packed = encodeCause(cause);
        const { byteLength } = payload;
        if (builder.append(topic, key, client, 1, timeMs, payload, 0, byteLength, packed)) return;
        end();
        builder.append(topic, key, client, 1, timeMs, payload, 0, byteLength, packed);
      },
      end,
    };
  }
}

type Section = { type: number; bytes: Uint8Array };

/** Cuts `items` into runs of about `bytesMax` at most, at least one item each. */
const slices = <T>(items: readonly T[], bytesOf: (item: T) => number, bytesMax: number): T[][] => {
  const all: T[][] = [];
  let open: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const itemBytes = bytesOf(item);
    if (open.length > 0 && bytes + itemBytes > bytesMax) {
      all.push(open);
      open = [];
      bytes = 0;
    }
    open.push(item);
    bytes += itemBytes;
  }
  if (open.length > 0) all.push(open);
  return all;
};

/** Sections of one journal block, or of several when they exceed a block. Positions and counters stand in the last one. */
const journalSections = (content: Pick<CommitContent, "positions" | "state" | "timers" | "meta">): Section[][] => {
  const sections: Section[] = [
    ...slices(content.state, stateChangeBytes, sectionBytesMax).map((part) => ({
      type: commitSection.state,
      bytes: encodeState(part),
    })),
    ...slices(content.timers, timerChangeBytes, sectionBytesMax).map((part) => ({
      type: commitSection.timers,
      bytes: encodeTimers(part),
    })),
    { type: commitSection.positions, bytes: encodePositions(content.positions) },
    { type: commitSection.meta, bytes: encodeMeta(content.meta) },
  ];
  const blocks = slices(sections, ({ bytes }) => 16 + bytes.byteLength, journalBlockBytesMax);
  // A block with positions but without counters would set the counters back.
  const last = blocks[blocks.length - 1];
  const before = blocks[blocks.length - 2];
  if (last.length === 1 && before) last.unshift(before.pop() as Section);
  return blocks.filter((block) => block.length > 0);
};

/** Streams that every task may write. */
export const failureStreams = [systemStreams.rejected, systemStreams.deadLetters] as const;
