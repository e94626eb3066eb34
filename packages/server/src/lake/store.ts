/** The lake's folder: durable files through the manifest, files that queries use only once, and deletion when nobody reads them. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { HeadraceError } from "@headrace/sdk";
import type { ViewFile } from "./columns.ts";
import { contentOf, makeFolder, publishFile } from "./disk.ts";
import { type Coverage, type LakeFile, Manifest, type ManifestStep } from "./manifest.ts";
import { ParquetWriter } from "./parquet.ts";
import { hourMs } from "./row-source.ts";
import type { StreamTail } from "./tail.ts";

/** Inside the lake's folder; emptied at each start. */
const hotFolder = ".hot";
/** Files of an hour that is over are merged when there are more than these. */
const filesPerPastHourMax = 16;
/** Files of the current hour are merged at this number, so that a query never opens hundreds. */
const filesPerHourMax = 64;
/** A file that has grown to this size is not merged again. */
const mergedBytesMax = 64 * 1024 * 1024;

export class LakeStore {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly #parquet: ParquetWriter;
  #lastFile: number;
  #pins = 0;
  #unneeded: string[] = [];

  private constructor(folder: string, manifest: Manifest, parquet: ParquetWriter) {
    this.folder = folder;
    this.manifest = manifest;
    this.#parquet = parquet;
    this.#lastFile = Math.max(
      0,
      ...[...manifest.files.keys()].map((path) => Number(/(\d+)-p[^/]*$/.exec(path)?.[1] ?? 0)),
    );
  }

  /** Opens a lake and deletes the files that its manifest does not name: a step that was not finished wrote them. */
  static async open(folder: string, exitFlags: Int32Array): Promise<LakeStore> {
    makeFolder(folder);
    const manifest = new Manifest(folder);
    rmSync(join(folder, hotFolder), { recursive: true, force: true });
    mkdirSync(join(folder, hotFolder));
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile() && entry.name.endsWith(".parquet") && !manifest.files.has(relative(folder, path)))
        rmSync(path);
    }
    return new LakeStore(folder, manifest, await ParquetWriter.open(exitFlags));
  }

  /** Puts everything that the tails hold into files, in one step. */
  async flush(tails: readonly StreamTail[]): Promise<void> {
    const add: LakeFile[] = [];
    const covered = tails.flatMap((tail) => tail.coverage());
    if (covered.length === 0) return;
    try {
      for (const tail of tails) {
        const covers = tail.coverage();
        for (const hour of tail.hours) {
          const temporary = this.#hotPath();
          const rows = await this.#parquet.write(tail.blocks, hour, tail.select, temporary);
          if (rows === 0) rmSync(temporary);
          else
            add.push(
              this.#publish(temporary, { stream: tail.stream.name, columns: tail.signature, hour, rows, covers }),
            );
        }
      }
    } catch (error) {
      this.#discardAdded(add);
      throw error;
    }
    this.#commit({ add, remove: [], positions: covered.map(([log, writer, , before]) => [log, writer, before]) });
    for (const tail of tails) {
      this.#discard(tail.hot.map((file) => file.path));
      tail.clear();
    }
  }

  /** Makes the tail readable without durability: writes what came since it was last asked for. */
  async heat(tail: StreamTail): Promise<void> {
    const fresh = tail.blocks.slice(tail.hotBlocks);
    if (fresh.length === 0) return;
    for (const hour of tail.hours) {
      const path = this.#hotPath();
      if ((await this.#parquet.write(fresh, hour, tail.select, path)) > 0)
        tail.hot.push({ path, columns: tail.signature });
      else rmSync(path);
    }
    tail.hotBlocks = tail.blocks.length;
  }

  /** Absolute paths of a stream's durable files. */
  filesOf(stream: string): ViewFile[] {
    const files: ViewFile[] = [];
    for (const file of this.manifest.files.values()) {
      if (file.stream === stream) files.push({ path: join(this.folder, file.path), columns: file.columns });
    }
    return files;
  }

  /** Keeps every file that exists now until {@link unpin}. */
  pin(): void {
    this.#pins++;
  }

  unpin(): void {
    if (--this.#pins === 0) this.#discard([]);
  }

  /** Merges small files, and deletes those whose hour is older than their stream keeps. */
  async maintain(retainAgeMsOf: ReadonlyMap<string, number | undefined>, nowMs: number): Promise<void> {
    const expired = [...this.manifest.files.values()].filter(
      ({ stream, hour }) => (hour + 1) * hourMs <= nowMs - (retainAgeMsOf.get(stream) ?? Infinity),
    );
    if (expired.length > 0) this.#remove({ add: [], remove: expired.map((file) => file.path), positions: [] });
    const small = [...this.manifest.files.values()].filter((file) => file.bytes < mergedBytesMax);
    const groups = Map.groupBy(small, ({ stream, hour, columns }) => JSON.stringify([stream, hour, columns]));
    for (const files of groups.values()) {
      const [{ stream, hour, columns }] = files;
      if (files.length <= ((hour + 1) * hourMs <= nowMs ? filesPerPastHourMax : filesPerHourMax)) continue;
      const temporary = this.#hotPath();
      const rows = await this.#parquet.merge(
        files.map((file) => join(this.folder, file.path)),
        temporary,
      );
      const merged = this.#publish(temporary, {
        stream,
        columns,
        hour,
        rows,
        covers: joined(files.flatMap((file) => file.covers)),
      });
      this.#remove({ add: [merged], remove: files.map((file) => file.path), positions: [] });
    }
  }

  /** The first of the stream's durable files whose content is not what was written; undefined when all are whole. */
  damaged(streams: readonly string[]): string | undefined {
    for (const file of this.manifest.files.values()) {
      if (!streams.includes(file.stream)) continue;
      const path = join(this.folder, file.path);
      try {
        const { bytes, crc } = contentOf(path);
        if (bytes !== file.bytes || crc !== file.crc) return path;
      } catch {
        return path;
      }
    }
    return undefined;
  }

  close(): void {
    this.#parquet.close();
    this.manifest.close();
  }

  #hotPath(): string {
    return join(this.folder, hotFolder, `${String(++this.#lastFile).padStart(10, "0")}.parquet`);
  }

  #publish(temporary: string, file: Omit<LakeFile, "path" | "bytes" | "crc">): LakeFile {
    const [date, time] = new Date(file.hour * hourMs).toISOString().split("T");
    const [[log, writer, from]] = file.covers;
    const name = `${String(++this.#lastFile).padStart(10, "0")}-p${log.slice(log.lastIndexOf("/") + 1)}-w${writer}-s${from}.parquet`;
    const path = join(file.stream, `date=${date}`, `hour=${time.slice(0, 2)}`, name);
    const content = contentOf(temporary);
    publishFile(temporary, join(this.folder, path));
    return { ...file, path, ...content };
  }

  #commit(step: ManifestStep): void {
    try {
      this.manifest.commit(step);
    } catch (error) {
      // When a sync fails nobody knows whether the step is durable: then its files must stay.
      if (!(error instanceof HeadraceError)) this.#discardAdded(step.add);
      throw error;
    }
  }

  #discardAdded(files: readonly LakeFile[]): void {
    for (const { path } of files) rmSync(join(this.folder, path), { force: true });
  }

  #remove(step: ManifestStep): void {
    this.#commit(step);
    this.#discard(step.remove.map((path) => join(this.folder, path)));
  }

  #discard(paths: readonly string[]): void {
    this.#unneeded.push(...paths);
    if (this.#pins > 0) return;
    for (const path of this.#unneeded) rmSync(path, { force: true });
    this.#unneeded = [];
  }
}

/** One range per channel: the files of an hour follow each other. */
const joined = (covers: readonly Coverage[]): Coverage[] =>
  [...Map.groupBy(covers, ([log, writer]) => `${log} ${writer}`).values()].map((ranges) => {
    const [[log, writer]] = ranges;
    return [
      log,
      writer,
      Math.min(...ranges.map(([, , from]) => from)),
      Math.max(...ranges.map(([, , , before]) => before)),
    ] as const;
  });
