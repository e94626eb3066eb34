/** Packs a commit into the blocks of one atomic append: outputs, effects and the journal. Numbers its channels itself. */
import { systemStreams } from "@headrace/sdk";
import { EventBlockBuilder, InternedString } from "../block/event-builder.ts";
import { blockKind, packBlock, viewOf } from "../block/header.ts";
import { encodeProperties } from "../block/properties.ts";
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
} from "./commit-format.ts";
import { encodeJson, type Output, type OwedEffect } from "./ledger.ts";
import type { ChannelPosition } from "./positions.ts";
import type { TaskHost, TaskSpec } from "./spec.ts";

/** Room that a journal block leaves for positions, timers and headers. */
const stateBytesMax = 384 * 1024;

export interface CommitContent {
  readonly positions: readonly ChannelPosition[];
  readonly state: readonly StateChange[];
  readonly timers: readonly TimerChange[];
  readonly outputs: readonly Output[];
  readonly effects: readonly OwedEffect[];
  readonly meta: CommitMeta;
}

interface Row {
  readonly topic: string;
  readonly key: string;
  readonly client: string;
  readonly payload: Uint8Array;
  readonly cause: string;
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
    for (const output of this.#spec.outputs) {
      const rows = content.outputs.filter((candidate) => candidate.stream === output.stream);
      if (rows.length > 0) {
        this.#packRows(
          blocks,
          output.logId,
          content.meta.timeMs,
          rows.map((row) => ({ ...row, topic: "", client: row.device })),
        );
      }
    }
    if (content.effects.length > 0) {
      const rows = content.effects.map(({ id, key, device, effect }) => ({
        topic: effect.kind,
        // Effects are kept per device, so that everything owed to one device stays in order.
        key: effect.kind === "command" ? effect.device : device,
        client: device,
        payload: encodeJson({ id, key, function: this.#spec.functionName, effect }),
        cause: id,
      }));
      this.#packRows(blocks, this.#spec.effectsLogId, content.meta.timeMs, rows);
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

  #packRows(blocks: Uint8Array[], logId: number, timeMs: number, rows: readonly Row[]): void {
    this.#builder ??= new EventBlockBuilder(320 * 1024);
    const builder = this.#builder;
    builder.reset();
    const seal = (): void => {
      const sequence = this.#end(logId);
      this.#ends.set(logId, sequence + builder.recordCount);
      blocks.push(builder.seal(this.#place(logId, sequence), this.#host.checksum).slice());
      builder.reset();
    };
    for (const row of rows) {
      const strings = [row.topic, row.key, row.client].map((text) => new InternedString(text));
      const append = (): boolean =>
        builder.append(
          strings[0],
          strings[1],
          strings[2],
          1,
          timeMs,
          row.payload,
          0,
          row.payload.byteLength,
          encodeProperties({ cause: row.cause }),
        );
      if (!append()) {
        seal();
        append();
      }
    }
    seal();
  }
}

type Sections = { type: number; bytes: Uint8Array }[];

/** Sections of one journal block, or of several when the state changes exceed a block. */
const journalSections = (content: Pick<CommitContent, "positions" | "state" | "timers" | "meta">): Sections[] => {
  const all: Sections[] = [];
  let from = 0;
  do {
    let bytes = 0;
    let to = from;
    while (to < content.state.length && (to === from || bytes + stateChangeBytes(content.state[to]) <= stateBytesMax))
      bytes += stateChangeBytes(content.state[to++]);
    const sections: Sections = [];
    if (to > from) sections.push({ type: commitSection.state, bytes: encodeState(content.state.slice(from, to)) });
    all.push(sections);
    from = to;
  } while (from < content.state.length);
  // Timers in slices of a few thousand, so that a million of them pass as well.
  const timersMax = 2000;
  for (let at = 0; at < content.timers.length; at += timersMax) {
    const bytes = encodeTimers(content.timers.slice(at, at + timersMax));
    if (at === 0 && bytes.byteLength < 64 * 1024) all[0].push({ type: commitSection.timers, bytes });
    else all.push([{ type: commitSection.timers, bytes }]);
  }
  const last = all[all.length - 1];
  last.push(
    { type: commitSection.positions, bytes: encodePositions(content.positions) },
    { type: commitSection.meta, bytes: encodeMeta(content.meta) },
  );
  return all;
};

/** Packs the whole state of a task as snapshot blocks that follow commit `journalSequence`. */
export const packSnapshot = (
  spec: TaskSpec,
  host: TaskHost,
  journalSequence: number,
  content: Pick<CommitContent, "positions" | "state" | "timers" | "meta">,
): Uint8Array[] =>
  journalSections(content).map((sections) =>
    packBlock(
      {
        logId: spec.journalLogId,
        writer: spec.journalLogId,
        epoch: host.epoch,
        sequence: journalSequence,
        recordCount: 1,
        earliestMs: content.meta.timeMs,
        latestMs: content.meta.timeMs,
        kind: blockKind.snapshot,
      },
      sections,
      host.checksum,
    ),
  );

/** Streams that every task may write. */
export const failureStreams = [systemStreams.rejected, systemStreams.deadLetters] as const;

/** Bytes as text when they are UTF-8, else base64 without help from a platform. */
export const payloadText = (bytes: Uint8Array): { payload: string; encoding: "utf8" | "base64" } => {
  try {
    return { payload: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes), encoding: "utf8" };
  } catch {
    const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = "";
    const view = viewOf(bytes);
    for (let at = 0; at < bytes.byteLength; at += 3) {
      const left = bytes.byteLength - at;
      const three =
        (view.getUint8(at) << 16) |
        ((left > 1 ? view.getUint8(at + 1) : 0) << 8) |
        (left > 2 ? view.getUint8(at + 2) : 0);
      text +=
        digits[three >>> 18] +
        digits[(three >>> 12) & 63] +
        (left > 1 ? digits[(three >>> 6) & 63] : "=") +
        (left > 2 ? digits[three & 63] : "=");
    }
    return { payload: text, encoding: "base64" };
  }
};
