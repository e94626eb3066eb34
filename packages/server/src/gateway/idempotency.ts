/**
 * Idempotency keys of requests: the last ones are remembered, across restarts too. A key is written into the log `idempotency` in the same atomic
 * group as its events, so either both are there or neither.
 */
import { blockKind, packBlock, readBlockHeader, readSections, sectionBytes } from "@headrace/engine";
import type { HeadraceError } from "@headrace/sdk";
import { checksum, type EmbeddedLog } from "../log/index.ts";
import { blocksOf } from "./blocks.ts";
import type { GroupMember, Ingest } from "./ingest.ts";

export interface Outcome {
  readonly stored: number;
}

interface Entry extends Outcome {
  readonly key: string;
}

const keysSection = 1;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Idempotency implements GroupMember {
  readonly #log: EmbeddedLog;
  readonly #ingest: Ingest;
  readonly #channel: { readonly logId: number; readonly writer: number };
  readonly #epoch: number;
  readonly #keysMax: number;
  readonly #durable = new Map<string, Outcome>();
  /** Requests that wait for their group: a repeat waits with them. */
  readonly #waiting = new Map<string, Promise<Outcome>>();
  #open: Entry[] = [];
  #sealed: Entry[] = [];

  private constructor(log: EmbeddedLog, ingest: Ingest, logId: number, epoch: number, keysMax: number) {
    this.#log = log;
    this.#ingest = ingest;
    this.#channel = { logId, writer: 0 };
    this.#epoch = epoch;
    this.#keysMax = keysMax;
  }

  static async open(log: EmbeddedLog, ingest: Ingest, keysMax: number): Promise<Idempotency> {
    const { id: logId } = await log.open("idempotency", "control");
    const opened = new Idempotency(log, ingest, logId, await log.fence({ logId, writer: 0 }), keysMax);
    const from = Math.max(0, log.endSequence(opened.#channel) - keysMax);
    for await (const block of blocksOf(log, opened.#channel, from)) {
      const bytes = sectionBytes(block, readSections(block, readBlockHeader(block)), keysSection);
      for (const { key, stored } of JSON.parse(decoder.decode(bytes)) as Entry[]) opened.#remember(key, { stored });
    }
    ingest.addBlocks(() => opened.#block());
    return opened;
  }

  /** What became of the request with this key; undefined when it is new (or older than what is remembered). */
  find(key: string): Promise<Outcome> | Outcome | undefined {
    return this.#durable.get(key) ?? this.#waiting.get(key);
  }

  /** Puts a key into the open group. `done` settles with the group. */
  add(key: string, outcome: Outcome, done: Promise<void>): void {
    if (this.#open.length === 0) this.#ingest.join(this);
    this.#open.push({ key, ...outcome });
    const waiting = done.then(() => outcome);
    // A repeat that waits gets the error itself.
    waiting.catch(() => undefined);
    this.#waiting.set(key, waiting);
  }

  #block(): Uint8Array | undefined {
    if (this.#open.length === 0) return undefined;
    return packBlock(
      {
        ...this.#channel,
        epoch: this.#epoch,
        sequence: this.#log.endSequence(this.#channel),
        recordCount: this.#open.length,
        earliestMs: 0,
        latestMs: 0,
        kind: blockKind.control,
      },
      [{ type: keysSection, bytes: encoder.encode(JSON.stringify(this.#open)) }],
      checksum,
    );
  }

  sealed(): void {
    this.#sealed.push(...this.#open);
    this.#open = [];
  }

  settled(error: HeadraceError | undefined): void {
    for (const { key, stored } of this.#sealed) {
      this.#waiting.delete(key);
      if (!error) this.#remember(key, { stored });
    }
    this.#sealed = [];
    const end = this.#log.endSequence(this.#channel);
    if (!error) this.#log.trim(this.#channel, Math.max(0, end - this.#keysMax));
  }

  #remember(key: string, outcome: Outcome): void {
    this.#durable.delete(key);
    this.#durable.set(key, outcome);
    if (this.#durable.size > this.#keysMax) this.#durable.delete(this.#durable.keys().next().value as string);
  }
}
