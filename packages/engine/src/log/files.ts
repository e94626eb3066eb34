/**
 * The Files port: what the log and the snapshots need of a file system (ADR 0013). Synchronous, as the log is, and close to POSIX on purpose: what
 * survives a power cut is decided by which of these calls happen, and in which order. Embedded driver: Node's own functions. In the simulation:
 * a disk in memory that keeps what is durable apart from what was only written.
 */

/** `wx+` refuses an existing file, `a` writes at the end, `r` opens folders as well. */
export type OpenFlags = "r" | "r+" | "w" | "wx+" | "a";

/** Errors carry the `code` of the system call: ENOENT, EEXIST, ENOSPC, EIO, EMFILE. */
export interface Files {
  /** Returns a descriptor. */
  open(path: string, flags: OpenFlags): number;
  close(descriptor: number): void;
  /** Returns the number of bytes that were read; 0 at the end of the file. */
  read(descriptor: number, into: Uint8Array, offset: number, byteLength: number, position: number): number;
  /** Returns the number of bytes that were written, which may be fewer than asked for. Without `position`: behind the last write, or at the end. */
  write(descriptor: number, bytes: Uint8Array, offset: number, byteLength: number, position?: number): number;
  /** As `write`, for several buffers. */
  writev(descriptor: number, buffers: readonly Uint8Array[], position?: number): number;
  /** Makes the bytes of a file durable. After a failure nobody knows what is on disk. */
  fdatasync(descriptor: number): void;
  /** As `fdatasync`; of a folder: the entries in it. */
  fsync(descriptor: number): void;
  size(descriptor: number): number;
  truncate(descriptor: number, byteLength: number): void;
  readFile(path: string): Uint8Array;
  exists(path: string): boolean;
  /** Names in a folder. */
  list(folder: string): string[];
  makeFolder(path: string): void;
  rename(from: string, to: string): void;
  /** Gives a file a second name; refuses an existing one. */
  link(existing: string, path: string): void;
  remove(path: string): void;
  /** Bytes that can still be written in the file system of `folder`. */
  freeBytes(folder: string): number;
}
