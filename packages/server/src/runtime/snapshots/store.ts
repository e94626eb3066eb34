/**
 * The snapshot files of one task: `<sequence, 16 digits>.snap` in its folder. Written beside, made durable, renamed, and the folder made
 * durable before anything older goes, so that a crash at any step leaves the old or the new, never none (S15).
 */
import { dirname, join } from "node:path";
import type { Files } from "@headrace/engine";
import { makeDurableFolder, nodeFiles, PacedWriter, syncFolder } from "../../log/index.ts";
import {
  chainBlockCrc,
  encodeSnapshotHeader,
  readSnapshot,
  type SnapshotHeader,
  snapshotHeaderBytes,
} from "./snapshot-file.ts";

/** Folder of a task's snapshots. @param task its name; a slash becomes part of the path */
export const snapshotFolder = (folder: string, task: string): string =>
  join(folder, ...task.split("/").map(encodeURIComponent));

export interface SoundSnapshot {
  readonly path: string;
  readonly header: SnapshotHeader;
  readonly blocks: Uint8Array[];
}
export interface DamagedSnapshot {
  readonly path: string;
  readonly sequence: number;
  readonly reason: string;
}

export class SnapshotStore {
  readonly folder: string;
  readonly #files: Files;

  constructor(folder: string, files: Files = nodeFiles) {
    this.folder = folder;
    this.#files = files;
  }

  file(sequence: number): string {
    return join(this.folder, `${String(sequence).padStart(16, "0")}.snap`);
  }

  /** Sequences of the files that are there, newest first. */
  list(): number[] {
    return this.#names()
      .filter((name) => /^\d{16}\.snap$/.test(name))
      .map((name) => Number(name.slice(0, 16)))
      .sort((a, b) => b - a);
  }
  #names(): string[] {
    try {
      return this.#files.list(this.folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  /** Reads and checks one file. */
  read(sequence: number): SoundSnapshot | DamagedSnapshot {
    const path = this.file(sequence);
    try {
      const { header, blocks } = readSnapshot(ownBytes(this.#files.readFile(path)));
      if (header.sequence !== sequence) throw new Error(`it says that it is the snapshot of ${header.sequence}`);
      return { path, header, blocks };
    } catch (error) {
      return { path, sequence, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /**
   * Writes a snapshot and removes all but it and `base`, the one that it was made of.
   * @param describe called behind the last block: what the header says beside what writing shows
   */
  write(
    sequence: number,
    blocks: Iterable<Uint8Array>,
    describe: () => Pick<SnapshotHeader, "journalLogId" | "journalCrc" | "keys" | "stateBytes">,
    base: number | undefined,
  ): SnapshotHeader {
    const files = this.#files;
    makeDurableFolder(this.folder, files);
    // The first one here: a process that was killed may have made the folders and not have come to sync their names.
    if (this.list().length === 0)
      for (const folder of [dirname(this.folder), dirname(dirname(this.folder))]) syncFolder(folder, files);
    const temporary = `${this.file(sequence)}.tmp`;
    const descriptor = files.open(temporary, "w");
    let header: SnapshotHeader;
    try {
      let fileBytes = snapshotHeaderBytes;
      let count = 0;
      let blocksCrc = 0;
      const writer = new PacedWriter(files, descriptor);
      for (const block of blocks) {
        writer.write(block, fileBytes);
        fileBytes += block.byteLength;
        blocksCrc = chainBlockCrc(blocksCrc, block);
        count++;
      }
      header = { ...describe(), fileBytes, sequence, blocks: count, blocksCrc };
      writer.write(encodeSnapshotHeader(header), 0);
      writer.sync();
    } finally {
      files.close(descriptor);
    }
    files.rename(temporary, this.file(sequence));
    syncFolder(this.folder, files);
    for (const name of this.#names()) {
      const kept = name === `${String(sequence).padStart(16, "0")}.snap` || Number.parseInt(name, 10) === base;
      if (!kept || name.endsWith(".tmp")) files.remove(join(this.folder, name));
    }
    return header;
  }
}

/** Bytes in a buffer of their own, which can be moved to another thread. */
const ownBytes = (bytes: Uint8Array): Uint8Array =>
  bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
