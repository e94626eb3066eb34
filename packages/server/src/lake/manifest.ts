/**
 * The manifest: what the lake consists of. A journal of steps, one line each, `<CRC32 in hex> <JSON>`; a step names files that
 * were added and removed and the positions up to which the logs are covered, so both change in one durable write.
 * Files must be durable before the step that adds them and may go only after the step that removes them.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { HeadraceError } from "@headrace/sdk";
import { syncPath } from "./disk.ts";

/** The records of one channel that a file covers: `[fromSequence, beforeSequence)`. */
export type Coverage = readonly [log: string, writer: number, fromSequence: number, beforeSequence: number];

export interface LakeFile {
  /** Relative to the lake's folder. */
  readonly path: string;
  readonly stream: string;
  /** Signature of its columns. */
  readonly columns: string;
  /** Hours since the epoch. */
  readonly hour: number;
  readonly rows: number;
  readonly bytes: number;
  readonly crc: number;
  /** Of a step that spans hours, each file names the step's whole coverage and holds its hour's rows. */
  readonly covers: readonly Coverage[];
}

export interface ManifestStep {
  readonly add: readonly LakeFile[];
  readonly remove: readonly string[];
  /** Everything below is in files. */
  readonly positions: readonly (readonly [log: string, writer: number, beforeSequence: number])[];
}

const fileName = "manifest.journal";
export const journalFile = (folder: string): string => join(folder, fileName);
/** The journal is rewritten as one step when it has more steps than this and than files. */
const stepsMax = 2000;

export class Manifest {
  readonly files = new Map<string, LakeFile>();
  readonly #positions = new Map<string, Map<number, number>>();
  readonly #folder: string;
  #file = -1;
  #endBytes = 0;
  #steps = 0;
  /** Counts changes of `files`. */
  version = 0;

  /**
   * Reads the manifest of a folder. A last line that was not finished is cut off.
   * @throws HR_LAKE_CORRUPT when any other line does not match its checksum
   */
  constructor(folder: string) {
    this.#folder = folder;
    this.#endBytes = readSteps(folder, (step) => {
      this.#apply(step);
      this.#steps++;
    });
    this.#open();
    ftruncateSync(this.#file, this.#endBytes);
    fsyncSync(this.#file);
    syncPath(folder);
  }

  position(log: string, writer: number): number | undefined {
    return this.#positions.get(log)?.get(writer);
  }

  positionsOf(log: string): ReadonlyMap<number, number> {
    return this.#positions.get(log) ?? new Map();
  }

  /** Makes a step durable, then true. After an error the step may be tried again, unless the error is HR_LOG_FAILED: then the lake must stop. */
  commit(step: ManifestStep): void {
    const line = lineOf(step);
    try {
      writeWhole(this.#file, line, this.#endBytes);
    } catch (error) {
      ftruncateSync(this.#file, this.#endBytes);
      throw error;
    }
    try {
      fsyncSync(this.#file);
    } catch (cause) {
      throw new HeadraceError("HR_LOG_FAILED", `the lake's manifest in ${this.#folder} could not be synced`, { cause });
    }
    this.#endBytes += line.byteLength;
    this.#apply(step);
    if (++this.#steps > Math.max(stepsMax, this.files.size * 2)) this.#rewrite();
  }

  close(): void {
    closeSync(this.#file);
  }

  #open(): void {
    const path = join(this.#folder, fileName);
    this.#file = openSync(path, existsSync(path) ? "r+" : "w+");
  }

  #apply(step: ManifestStep): void {
    for (const path of step.remove) this.files.delete(path);
    for (const file of step.add) this.files.set(file.path, file);
    for (const [log, writer, beforeSequence] of step.positions) {
      const writers = this.#positions.get(log) ?? new Map<number, number>();
      this.#positions.set(log, writers.set(writer, beforeSequence));
    }
    this.version++;
  }

  /** Replaces the journal by one step that says the same. */
  #rewrite(): void {
    const path = join(this.#folder, fileName);
    const positions = [...this.#positions].flatMap(([log, writers]) =>
      [...writers].map(([writer, before]) => [log, writer, before] as const),
    );
    const line = lineOf({ add: [...this.files.values()], remove: [], positions });
    const file = openSync(`${path}.new`, "w");
    try {
      writeWhole(file, line, 0);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    closeSync(this.#file);
    renameSync(`${path}.new`, path);
    syncPath(this.#folder);
    this.#open();
    this.#endBytes = line.byteLength;
    this.#steps = 1;
  }
}

/** Gives every step to `visit`; returns where the last finished line ends. @throws HR_LAKE_CORRUPT */
const readSteps = (folder: string, visit: (step: ManifestStep) => void): number => {
  const path = join(folder, fileName);
  if (!existsSync(path)) return 0;
  const content = readFileSync(path);
  const endBytes = content.lastIndexOf(0x0a) + 1;
  for (let at = 0; at < endBytes; ) {
    const lineEnd = content.indexOf(0x0a, at);
    const line = content.toString("utf8", at, lineEnd);
    const json = line.slice(9);
    if (json === "" || crcOf(json) !== line.slice(0, 8))
      throw new HeadraceError("HR_LAKE_CORRUPT", `${path} is damaged at byte ${at}`, { data: { path, offset: at } });
    visit(JSON.parse(json) as ManifestStep);
    at = lineEnd + 1;
  }
  return endBytes;
};

/** The files that the manifest of a folder names, without opening it for writing. @throws HR_LAKE_CORRUPT */
export const listedFiles = (folder: string): LakeFile[] => {
  const files = new Map<string, LakeFile>();
  readSteps(folder, ({ add, remove }) => {
    for (const path of remove) files.delete(path);
    for (const file of add) files.set(file.path, file);
  });
  return [...files.values()];
};

const crcOf = (json: string): string => crc32(json).toString(16).padStart(8, "0");
const lineOf = (step: ManifestStep): Buffer => {
  const json = JSON.stringify(step);
  return Buffer.from(`${crcOf(json)} ${json}\n`);
};

const writeWhole = (file: number, bytes: Uint8Array, position: number): void => {
  for (let written = 0; written < bytes.byteLength; )
    written += writeSync(file, bytes, written, bytes.byteLength - written, position + written);
};
