/** Snapshots of all tasks of a node: where they are kept, when they are made, and who makes them. */
import type { Files, Log } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { nodeFiles } from "../../log/index.ts";
import type { Compactor, CompactRequest, CompactResult } from "./compact.ts";
import { CompactionThread } from "./compaction-thread.ts";

/** When a snapshot is made: once the journal behind the last is as large as this, and as `factor` times the last. */
export interface SnapshotTrigger {
  readonly journalBytesMin: number;
  readonly factor: number;
}
export const snapshotTriggerDefault: SnapshotTrigger = { journalBytesMin: 4 * 1024 * 1024, factor: 1 };

/** What snapshots take of the machine; the simulation brings its own (ADR 0013). */
export interface SnapshotSystem {
  readonly files: Files;
  readonly newCompactor: (log: Log) => Compactor;
}
export const nodeSnapshotSystem: SnapshotSystem = {
  files: nodeFiles,
  newCompactor: (log) => new CompactionThread(log),
};

export class Snapshots {
  readonly folder: string;
  readonly trigger: SnapshotTrigger;
  readonly files: Files;
  readonly #compactor: Compactor;
  #closed = false;

  constructor(
    log: Log,
    folder: string,
    trigger: SnapshotTrigger = snapshotTriggerDefault,
    { files, newCompactor }: SnapshotSystem = nodeSnapshotSystem,
  ) {
    this.folder = folder;
    this.trigger = trigger;
    this.files = files;
    this.#compactor = newCompactor(log);
  }

  /** Makes the next snapshot of a task. */
  async compact(request: CompactRequest): Promise<CompactResult> {
    if (this.#closed) throw new HeadraceError("HR_UNAVAILABLE", "the node is stopping");
    return await this.#compactor.compact(request);
  }

  /** A snapshot under way is given up, which leaves the ones before. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#compactor.close();
  }
}
