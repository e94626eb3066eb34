/**
 * Makes a damaged log usable again, with an operator's word that what is lost is lost (P6). Nothing is deleted: damaged files move to a
 * folder `damaged`. What of them is sound goes into history files, and each run of lost records becomes a gap in the manifest, which
 * readers, `log verify` and the status show.
 */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type BlockHeader, readBlockHeader, verifyBlock } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { checksum } from "./checksum.ts";
import { type HistoryEntry, readHistoryBlock, readHistoryIndex, writeHistoryFile } from "./history-file.ts";
import {
  appendManifest,
  cutManifest,
  type Gap,
  type HistoryManifest,
  manifestFile,
  readManifest,
} from "./history-manifest.ts";
import { recoverWal, type WalDamage } from "./recovery.ts";
import { rewriteSegment } from "./rewrite.ts";
import { decodeSegmentHeader, listSegments, segmentFile, syncFolder } from "./segment.ts";

/** What a repair did. */
export interface RepairReport {
  /** Records that are lost, by channel. */
  readonly gaps: readonly Gap[];
  /** Files that were damaged, where they are now. */
  readonly moved: readonly string[];
}

const segmentOf = (path: string): number => Number(basename(path).slice(0, 12));

class Repair {
  readonly #wal: string;
  readonly #history: string;
  readonly #damaged: string;
  readonly #nowMs: number;
  /** Segments, or their history files, of which something is lost. */
  readonly #touched = new Set<number>();
  readonly moved: string[] = [];

  constructor(folder: string, nowMs: number) {
    this.#wal = join(folder, "wal");
    this.#history = join(folder, "history");
    this.#nowMs = nowMs;
    this.#damaged = join(folder, "damaged", new Date(nowMs).toISOString().replaceAll(":", "-"));
  }

  run(): Gap[] {
    const manifest = this.#soundManifest();
    for (const [path, { logId }] of manifest.files) this.#mendHistory(path, logId);
    for (let damage = this.#walDamage(); damage; damage = this.#walDamage()) this.#salvage(damage);
    if (this.#touched.size === 0) return [];
    const gaps = this.#gaps();
    appendManifest(this.#history, { gaps });
    return gaps;
  }

  #setAside(file: string): void {
    if (!existsSync(file)) return;
    mkdirSync(this.#damaged, { recursive: true });
    const to = join(this.#damaged, `${basename(dirname(file))}-${basename(file)}`);
    renameSync(file, to);
    syncFolder(dirname(file));
    this.moved.push(to);
  }

  /** The manifest, or one made anew from the files whose segments are gone from the write-ahead log. */
  #soundManifest(): HistoryManifest {
    try {
      const manifest = readManifest(this.#history);
      const next = listSegments(this.#wal).find((number) => number > manifest.lastSegment);
      // A step is acted on only when it is durable: if its segment is still there, it was never finished.
      if (manifest.tornAt === undefined) return manifest;
      if (next === undefined || next === manifest.lastSegment + 1) {
        cutManifest(this.#history, manifest.tornAt);
        return manifest;
      }
      this.#setAside(manifestFile(this.#history));
    } catch {
      this.#setAside(manifestFile(this.#history));
    }
    const first = listSegments(this.#wal)[0] ?? Number.POSITIVE_INFINITY;
    const names = readdirSync(this.#history, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".hist") && segmentOf(name) < first)
      .sort((a, b) => a.localeCompare(b));
    const files = names.map((path) => ({ path, logId: Number(dirname(path)), byteLength: 0 }));
    const last = Number.isFinite(first) ? first - 1 : Math.max(0, ...names.map(segmentOf));
    appendManifest(this.#history, { segment: last, files, ends: [] });
    return readManifest(this.#history);
  }

  /** Keeps the sound blocks of a history file in a new one. */
  #mendHistory(path: string, logId: number): void {
    const file = join(this.#history, path);
    const sound: { header: BlockHeader; block: Uint8Array }[] = [];
    let isDamaged = false;
    try {
      const entries = readHistoryIndex(file, logId);
      const descriptor = openSync(file, "r");
      for (const entry of entries) {
        const block = soundBlock(descriptor, file, entry);
        if (block) sound.push({ header: readBlockHeader(block), block });
        else isDamaged = true;
      }
      closeSync(descriptor);
    } catch {
      isDamaged = true;
    }
    if (!isDamaged) return;
    this.#touched.add(segmentOf(path));
    const mended = path.replace(/(\.r)?\.hist$/, ".r.hist");
    const files: { logId: number; path: string; byteLength: number }[] = [];
    this.#setAside(file);
    if (sound.length > 0) {
      const entries = writeHistoryFile(join(this.#history, mended), logId, sound);
      files.push({ logId, path: mended, byteLength: entries.reduce((sum, { storedBytes }) => sum + storedBytes, 0) });
    }
    appendManifest(this.#history, { dropped: [path], files });
  }

  #walDamage(): WalDamage | undefined {
    try {
      recoverWal(this.#wal, readManifest(this.#history).lastSegment, () => undefined);
      return undefined;
    } catch (error) {
      if (error instanceof HeadraceError && error.data && "through" in error.data)
        return error.data as unknown as WalDamage;
      throw error;
    }
  }

  /** Moves what is sound up to the damage into history, so that the log goes on behind it. */
  #salvage({ segment, through }: WalDamage): void {
    const { lastSegment } = readManifest(this.#history);
    for (let number = lastSegment + 1; number <= through; number++) {
      const file = segmentFile(this.#wal, number);
      const request = { walFolder: this.#wal, historyFolder: this.#history, segment: number, trims: [], salvage: true };
      if (!existsSync(file)) {
        this.#touched.add(number);
        appendManifest(this.#history, { segment: number, files: [], ends: [] });
        continue;
      }
      const head = decodeSegmentHeader(readFileSync(file));
      if (typeof head === "object" && head.number !== number) {
        throw new HeadraceError(
          "HR_BLOCK_CORRUPT",
          `${file} holds segment ${head.number}: rename the file to the segment that it holds, then try again`,
        );
      }
      if (number === segment || through < segment) this.#touched.add(number);
      const { files, ends } = rewriteSegment(request);
      appendManifest(this.#history, {
        segment: number,
        files: files.map(({ logId, path, byteLength }) => ({ logId, path, byteLength })),
        ends,
      });
      this.#setAside(file);
    }
  }

  /** Where a channel jumps across something that was damaged. */
  #gaps(): Gap[] {
    const gaps: Gap[] = [];
    const channels = new Map<string, { end: number; segment: number }>();
    const see = (segment: number, block: Pick<BlockHeader, "logId" | "writer" | "sequence" | "recordCount">): void => {
      const { logId, writer, sequence } = block;
      const known = channels.get(`${logId}/${writer}`);
      if (known && sequence > known.end) {
        const lost = [...this.#touched].filter((number) => number >= known.segment && number <= segment);
        if (lost.length > 0) {
          const reason = `damage in write-ahead segment or history of segment ${lost.join(", ")}`;
          gaps.push({ logId, writer, fromSequence: known.end, toSequence: sequence, reason, timeMs: this.#nowMs });
        }
      }
      channels.set(`${logId}/${writer}`, { end: sequence + block.recordCount, segment });
    };
    const manifest = readManifest(this.#history);
    for (const path of [...manifest.files.keys()].sort((a, b) => segmentOf(a) - segmentOf(b))) {
      const { logId } = manifest.files.get(path) as { logId: number };
      for (const entry of readHistoryIndex(join(this.#history, path), logId)) see(segmentOf(path), { ...entry, logId });
    }
    recoverWal(this.#wal, manifest.lastSegment, (segment, _offset, header) => see(segment, header));
    return gaps;
  }
}

const soundBlock = (descriptor: number, file: string, entry: HistoryEntry): Uint8Array | undefined => {
  try {
    const block = readHistoryBlock(descriptor, file, entry);
    return verifyBlock(block, readBlockHeader(block), checksum) ? block : undefined;
  } catch {
    return undefined;
  }
};

/**
 * Repairs the log of a data folder that no node uses. What is sound is left as it is.
 *
 * @throws HR_BLOCK_CORRUPT when a file stands in another one's place: nothing is lost then, and renaming mends it
 */
export const repairLog = (folder: string, nowMs: number): RepairReport => {
  const repair = new Repair(folder, nowMs);
  const gaps = repair.run();
  return { gaps, moved: repair.moved };
};
