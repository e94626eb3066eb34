/** The write-ahead log: appends one group frame at a time to the open segment and makes it durable before it returns. */
import type { Files } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { encodeFrameHeader, frameFlag, frameHeaderBytes } from "./frame.ts";
import { ReserveDescriptors } from "./reserve.ts";
import { encodeSegmentHeader, segmentFile, segmentHeaderBytes } from "./segment.ts";
import type { Syncer } from "./sync-thread.ts";

/** Where writing goes on; recovery finds it. */
export interface WalEnd {
  segment: number;
  /** Offset of the next frame; 0 when the segment has no header yet. */
  offset: number;
  /** Number of the next group. */
  groupNumber: number;
  previousHash: number;
  /** Salt of the open segment. */
  salt: number;
}

/** A part of the open segment as it was read at the start. */
export interface TailPart {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface WalOptions {
  readonly files: Files;
  readonly folder: string;
  readonly segmentBytes: number;
  /** Wall clock, ms since the epoch. */
  readonly nowMs: () => number;
  /** A random number of 32 bits, for the salt of a segment. */
  readonly random32: () => number;
  /** Takes the number of a segment that is full. */
  readonly onSealed: (segment: number) => void;
  /** Says whether a prepared file for this segment exists. */
  readonly isPrepared: (segment: number) => boolean;
}

/** Largest group: what does not fit waits for the next one. */
export const groupBytesMax = 16 * 1024 * 1024;

export class Wal {
  readonly #options: WalOptions;
  readonly #files: Files;
  #end: WalEnd;
  #descriptor = -1;
  readonly #reserve: ReserveDescriptors;
  /** Of the folder, open all the time: rolling must not need one more. */
  readonly #folder: number;
  #written: WalEnd | undefined;
  /** Durations of the last 1,024 syncs, ms; for metrics and for the linger. */
  readonly syncMs = new Float64Array(1024);
  syncs = 0;

  /**
   * @param tail what the end of the open segment was read as. A process that was killed left it in the kernel's cache at least, and behind a sync that failed no
   * later one would write it: it is written again and made durable before anything relies on it.
   * @throws HR_LOG_FAILED
   */
  constructor(options: WalOptions, end: WalEnd, tail: readonly TailPart[]) {
    this.#options = options;
    this.#files = options.files;
    this.#folder = this.#files.open(options.folder, "r");
    this.#reserve = new ReserveDescriptors(options.folder, this.#files);
    this.#end = { ...end };
    if (end.offset === 0) return;
    this.#descriptor = this.#files.open(segmentFile(options.folder, end.segment), "r+");
    try {
      for (const { offset, bytes } of tail) writeAll(this.#files, this.#descriptor, [bytes], offset);
      this.#files.fdatasync(this.#descriptor);
    } catch (error) {
      this.close();
      throw asLogError(error, "making durable what was read");
    }
  }

  get end(): Readonly<WalEnd> {
    return this.#end;
  }

  /**
   * Writes the blocks as one frame; {@link sync} makes it durable. Returns segment and offset of the first block.
   * @throws HR_DISK_FULL, HR_OUT_OF_DESCRIPTORS: nothing is stored, the same call may be repeated. HR_LOG_FAILED: the process must end.
   */
  write(blocks: readonly Uint8Array[], marker = false): { segment: number; offset: number } {
    let frameBytes = frameHeaderBytes;
    for (const block of blocks) frameBytes += block.byteLength;
    try {
      if (this.#descriptor < 0 || this.#end.offset + frameBytes > this.#options.segmentBytes) this.#roll();
      const { header, hash } = encodeFrameHeader(
        { ...this.#end, flags: marker ? frameFlag.marker : 0, timeMs: this.#options.nowMs() },
        blocks,
      );
      writeAll(this.#files, this.#descriptor, [header, ...blocks], this.#end.offset);
      const place = { segment: this.#end.segment, offset: this.#end.offset + frameHeaderBytes };
      this.#written = {
        ...this.#end,
        offset: this.#end.offset + frameBytes,
        groupNumber: this.#end.groupNumber + 1,
        previousHash: hash,
      };
      return place;
    } catch (error) {
      throw asLogError(error, "write");
    }
  }

  /** Makes the written frame durable. @throws HR_LOG_FAILED: a failed sync is never repeated, the process must end */
  sync(): void {
    const startedMs = performance.now();
    try {
      this.#files.fdatasync(this.#descriptor);
    } catch (error) {
      throw new HeadraceError("HR_LOG_FAILED", `fdatasync of the write-ahead log failed: ${String(error)}`, {
        cause: error,
      });
    }
    this.#synced(startedMs);
  }

  /** As {@link sync}, in another thread: `done` gets the error after which the process must end. Nothing may be written until then. */
  syncIn(syncer: Syncer, done: (error?: HeadraceError) => void): void {
    const startedMs = performance.now();
    syncer.sync(this.#descriptor, (failure) => {
      if (failure === undefined) {
        this.#synced(startedMs);
        done();
      } else done(new HeadraceError("HR_LOG_FAILED", `the sync of the write-ahead log failed: ${failure}`));
    });
  }

  #synced(startedMs: number): void {
    this.syncMs[this.syncs++ & 1023] = performance.now() - startedMs;
    if (this.#written) this.#end = this.#written;
    this.#written = undefined;
    this.#reserve.refill();
  }

  /** Opens the next segment; the old one is never written again. */
  #roll(): void {
    const { folder, isPrepared, onSealed, random32 } = this.#options;
    const files = this.#files;
    const sealed = this.#descriptor >= 0 ? this.#end.segment : undefined;
    const number = this.#end.segment + (sealed === undefined ? 0 : 1);
    const prepared = isPrepared(number);
    const salt = random32();
    const descriptor = this.#reserve.use(() => openSegment(files, segmentFile(folder, number), prepared));
    try {
      writeAll(
        files,
        descriptor,
        [
          encodeSegmentHeader({
            number,
            firstGroup: this.#end.groupNumber,
            previousHash: this.#end.previousHash,
            salt,
          }),
        ],
        0,
      );
      if (!prepared) {
        files.fsync(descriptor);
        files.fsync(this.#folder);
      }
    } catch (error) {
      files.close(descriptor);
      throw error;
    }
    if (this.#descriptor >= 0) files.close(this.#descriptor);
    this.#reserve.refill();
    this.#descriptor = descriptor;
    this.#end = { ...this.#end, segment: number, offset: segmentHeaderBytes, salt };
    if (sealed !== undefined) onSealed(sealed);
  }

  close(): void {
    if (this.#descriptor >= 0) this.#files.close(this.#descriptor);
    this.#descriptor = -1;
    this.#reserve.close();
    this.#files.close(this.#folder);
  }
}

/** Opens a prepared segment, or makes one; never cuts a file that has just been prepared. */
const openSegment = (files: Files, path: string, prepared: boolean): number => {
  if (prepared) return files.open(path, "r+");
  try {
    return files.open(path, "wx+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return files.open(path, "r+");
  }
};

/** Writes all buffers at `offset`, going on after a short write. */
const writeAll = (files: Files, descriptor: number, buffers: readonly Uint8Array[], offset: number): void => {
  let pending = buffers.filter((buffer) => buffer.byteLength > 0);
  let at = offset;
  while (pending.length > 0) {
    let written = files.writev(descriptor, pending, at);
    at += written;
    const rest: Uint8Array[] = [];
    for (const buffer of pending) {
      if (written >= buffer.byteLength) written -= buffer.byteLength;
      else {
        rest.push(written > 0 ? buffer.subarray(written) : buffer);
        written = 0;
      }
    }
    pending = rest;
  }
};

const asLogError = (error: unknown, action: string): HeadraceError => {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new HeadraceError("HR_DISK_FULL", `the disk is full (${code} on ${action} of the write-ahead log)`, {
      cause: error,
    });
  }
  if (code === "EMFILE" || code === "ENFILE") {
    // Only a segment is ever opened, and nothing was written before that.
    return new HeadraceError("HR_OUT_OF_DESCRIPTORS", `the write-ahead log can open no segment (${code})`, {
      cause: error,
    });
  }
  return new HeadraceError("HR_LOG_FAILED", `${action} of the write-ahead log failed: ${String(error)}`, {
    cause: error,
  });
};
