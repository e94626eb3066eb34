/** Snapshot files: the blocks of a task's whole state as of one commit. Two generations are kept; a damaged one falls back to the older. */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { readBlockHeader, verifyBlock } from "@headrace/engine";
import { checksum } from "../log/index.ts";

const generations = 2;

export class Snapshots {
  readonly #folder: string;

  /** @param task its name; a slash becomes part of the path */
  constructor(folder: string, task: string) {
    this.#folder = join(folder, ...task.split("/").map(encodeURIComponent));
    mkdirSync(this.#folder, { recursive: true });
  }

  #list(): number[] {
    return readdirSync(this.#folder)
      .filter((name) => /^\d{16}\.snap$/.test(name))
      .map((name) => Number(name.slice(0, 16)))
      .sort((a, b) => b - a);
  }
  #file(sequence: number): string {
    return join(this.#folder, `${String(sequence).padStart(16, "0")}.snap`);
  }

  /** The newest sound snapshot: the sequence of its commit and its blocks. */
  load(): { sequence: number; blocks: Uint8Array[] } | undefined {
    for (const sequence of this.#list()) {
      try {
        return { sequence, blocks: splitBlocks(readFileSync(this.#file(sequence))) };
      } catch (error) {
        process.emitWarning(`snapshot ${this.#file(sequence)} is damaged and passed over: ${String(error)}`);
      }
    }
    return undefined;
  }

  /** Writes a snapshot; returns the sequence behind which the journal is still needed. */
  async write(sequence: number, blocks: readonly Uint8Array[]): Promise<number> {
    const temporary = `${this.#file(sequence)}.tmp`;
    const file = await open(temporary, "w");
    try {
      for (const block of blocks) await file.write(block);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.#file(sequence));
    const folder = await open(this.#folder, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    const kept = this.#list();
    for (const old of kept.slice(generations)) rmSync(this.#file(old), { force: true });
    return kept.length >= generations ? kept[generations - 1] : -1;
  }
}

const splitBlocks = (bytes: Uint8Array): Uint8Array[] => {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const header = readBlockHeader(bytes.subarray(at));
    const block = bytes.slice(at, at + header.byteLength);
    if (!verifyBlock(block, header, checksum)) throw new Error(`the block at byte ${at} fails its checksum`);
    blocks.push(block);
    at += header.byteLength;
  }
  if (blocks.length === 0) throw new Error("it is empty");
  return blocks;
};
