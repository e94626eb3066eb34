/**
 * A disk in memory behind the Files port. It keeps what is durable apart from what was only written, in bytes as in the entries of folders, so that a
 * power cut can take any part of what no sync has asked for. What a process sees is the newest, as through the page cache of a kernel.
 *
 * Stricter than most file systems on purpose: entries of a folder are lost without an fsync of the folder even where the file itself was synced.
 */
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import type { Files, OpenFlags } from "@headrace/engine";
import { survives, type UnsyncedChange } from "./power-cut.ts";

interface FileNode {
  readonly kind: "file";
  bytes: Uint8Array;
  size: number;
  durable: Uint8Array;
  durableSize: number;
  unsynced: UnsyncedChange[];
}
interface FolderNode {
  readonly kind: "folder";
  entries: Map<string, DiskNode>;
  durable: Map<string, DiskNode>;
}
type DiskNode = FileNode | FolderNode;

/** Entries that one call changes: all of them survive, or none. */
type EntryChanges = { readonly folder: FolderNode; readonly name: string; readonly node: DiskNode | undefined }[];

interface OpenFile {
  readonly node: DiskNode;
  readonly path: string;
  readonly process: number;
  position: number;
}

/** How likely each fault is at each call that it can hit; 0 to 1. */
export interface DiskFaults {
  readonly shortWrite: number;
  readonly writeError: number;
  readonly syncError: number;
  /** A sync that takes up to two seconds. */
  readonly slowSync: number;
}
export const noFaults: DiskFaults = { shortWrite: 0, writeError: 0, syncError: 0, slowSync: 0 };

/** What happens at the disk, told as it happens: `write`, `fdatasync`, `rename` …, or a fault. */
export type DiskEvent = { readonly call: string; readonly path: string; readonly fault?: string };

export interface DiskOptions {
  readonly random: () => number;
  /** The process waits for the disk. */
  readonly pass: (ms: number) => void;
  readonly onEvent?: (event: DiskEvent) => void;
  /** The power has gone in the middle of a call. */
  readonly onCut: () => void;
}

const failed = (code: string, call: string, path: string): Error =>
  Object.assign(new Error(`${code}: ${call} '${path}' (simulated)`), { code });

/** The call did not return: the process is gone. */
export class PowerCut extends Error {
  readonly code = "EIO";
  constructor(call: string, path: string) {
    super(`the power went during ${call} '${path}' (simulated)`);
  }
}

const newFolder = (): FolderNode => ({ kind: "folder", entries: new Map(), durable: new Map() });

export class SimulatedDisk {
  readonly #options: DiskOptions;
  #root = newFolder();
  readonly #open = new Map<number, OpenFile>();
  #nextDescriptor = 10;
  #process = 0;
  /** Files with unsynced changes. */
  readonly #dirty = new Set<FileNode>();
  #entryChanges: EntryChanges[] = [];
  /** Calls until the power goes, and which ones count. */
  #callsLeft = Number.POSITIVE_INFINITY;
  #isCounted = (_call: string, _path: string): boolean => true;
  #isCut = false;
  /** Over every call with its bytes, in order. */
  digest = 0;
  faults: DiskFaults = noFaults;
  /** Nothing that needs more room can be written. */
  isFull = false;
  calls = 0;

  constructor(options: DiskOptions) {
    this.#options = options;
  }

  /** The power goes at the n-th call from now; of those that count. */
  cutIn(calls: number, isCounted: (call: string, path: string) => boolean = () => true): void {
    this.#callsLeft = calls;
    this.#isCounted = isCounted;
  }

  /** The files as a new process sees them; what a process before it still tries fails. */
  openProcess(): Files {
    this.#process += 1;
    this.#isCut = false;
    this.#callsLeft = Number.POSITIVE_INFINITY;
    this.#open.clear();
    const process = this.#process;
    const guard = (call: string, path: string): void => this.#guard(process, call, path);
    const fileOf = (call: string, descriptor: number): OpenFile & { node: FileNode } => {
      const open = this.#open.get(descriptor);
      guard(call, open?.path ?? "?");
      if (open?.node.kind !== "file") throw failed("EBADF", call, open?.path ?? String(descriptor));
      return open as OpenFile & { node: FileNode };
    };
    return {
      open: (path, flags) => {
        guard(`open ${flags}`, path);
        return this.#openFile(path, flags, process);
      },
      close: (descriptor) => {
        this.#open.delete(descriptor);
      },
      read: (descriptor, into, offset, byteLength, position) => {
        const { node } = fileOf("read", descriptor);
        const count = Math.max(0, Math.min(byteLength, node.size - position));
        into.set(node.bytes.subarray(position, position + count), offset);
        return count;
      },
      write: (descriptor, bytes, offset, byteLength, position) =>
        this.#write(fileOf("write", descriptor), [bytes.subarray(offset, offset + byteLength)], position),
      writev: (descriptor, buffers, position) => this.#write(fileOf("write", descriptor), buffers, position),
      fdatasync: (descriptor) => this.#syncFile("fdatasync", fileOf("fdatasync", descriptor)),
      fsync: (descriptor) => {
        const open = this.#open.get(descriptor);
        guard("fsync", open?.path ?? "?");
        if (!open) throw failed("EBADF", "fsync", String(descriptor));
        if (open.node.kind === "file") this.#syncFile("fsync", open as OpenFile & { node: FileNode });
        else this.#syncFolder(open.node);
      },
      size: (descriptor) => fileOf("fstat", descriptor).node.size,
      truncate: (descriptor, byteLength) => {
        const { node } = fileOf("ftruncate", descriptor);
        this.#resize(node, byteLength);
        this.#change(node, { kind: "size", size: byteLength });
      },
      readFile: (path) => {
        guard("read", path);
        const node = this.#find(path);
        if (node?.kind !== "file") throw failed("ENOENT", "open", path);
        return node.bytes.slice(0, node.size);
      },
      exists: (path) => {
        guard("stat", path);
        return this.#find(path) !== undefined;
      },
      list: (folder) => {
        guard("readdir", folder);
        const node = this.#find(folder);
        if (node?.kind !== "folder") throw failed("ENOENT", "readdir", folder);
        return [...node.entries.keys()].sort();
      },
      makeFolder: (path) => {
        guard("mkdir", path);
        if (this.#find(path)) throw failed("EEXIST", "mkdir", path);
        this.#changeEntries([[path, newFolder()]]);
      },
      rename: (from, to) => {
        guard("rename", from);
        const node = this.#find(from);
        if (!node) throw failed("ENOENT", "rename", from);
        this.#changeEntries([
          [from, undefined],
          [to, node],
        ]);
      },
      link: (existing, path) => {
        guard("link", path);
        const node = this.#find(existing);
        if (!node) throw failed("ENOENT", "link", existing);
        if (this.#find(path)) throw failed("EEXIST", "link", path);
        this.#changeEntries([[path, node]]);
      },
      remove: (path) => {
        guard("unlink", path);
        if (!this.#find(path)) throw failed("ENOENT", "unlink", path);
        this.#changeEntries([[path, undefined]]);
      },
      freeBytes: () => (this.isFull ? 0 : 1 << 30),
    };
  }

  /** Every call goes through here: the process may be gone, or go now. */
  #guard(process: number, call: string, path: string): void {
    if (process !== this.#process || this.#isCut) throw new PowerCut(call, path);
    this.calls += 1;
    this.#options.onEvent?.({ call, path });
    this.#note(call, path);
    if (this.#callsLeft === Number.POSITIVE_INFINITY || !this.#isCounted(call, path)) return;
    if (--this.#callsLeft > 0) return;
    this.#isCut = true;
    this.#options.onCut();
    throw new PowerCut(call, path);
  }

  #note(call: string, path: string): void {
    this.digest = crc32(`${call} ${path}`, this.digest);
  }

  #faulted(call: string, path: string, fault: string, chance: number): boolean {
    if (chance === 0 || this.#options.random() >= chance) return false;
    this.#options.onEvent?.({ call, path, fault });
    this.#note(fault, path);
    return true;
  }

  // Paths.

  #find(path: string): DiskNode | undefined {
    let node: DiskNode | undefined = this.#root;
    for (const name of path.split("/")) {
      if (name === "") continue;
      if (node?.kind !== "folder") return undefined;
      node = node.entries.get(name);
    }
    return node;
  }

  #changeEntries(changes: readonly (readonly [path: string, node: DiskNode | undefined])[]): void {
    const group = changes.map(([path, node]) => {
      const folder = this.#find(dirname(path));
      if (folder?.kind !== "folder") throw failed("ENOENT", "open", path);
      return { folder, name: path.slice(path.lastIndexOf("/") + 1), node };
    });
    for (const { folder, name, node } of group) setEntry(folder.entries, name, node);
    this.#entryChanges.push(group);
  }

  #openFile(path: string, flags: OpenFlags, process: number): number {
    let node = this.#find(path);
    if (flags === "wx+" && node) throw failed("EEXIST", "open", path);
    if (!node) {
      if (flags === "r" || flags === "r+") throw failed("ENOENT", "open", path);
      if (this.isFull) throw failed("ENOSPC", "open", path);
      node = {
        kind: "file",
        bytes: new Uint8Array(0),
        size: 0,
        durable: new Uint8Array(0),
        durableSize: 0,
        unsynced: [],
      };
      this.#changeEntries([[path, node]]);
    } else if (flags === "w" && node.kind === "file") {
      this.#resize(node, 0);
      this.#change(node, { kind: "size", size: 0 });
    }
    const descriptor = this.#nextDescriptor++;
    const position = flags === "a" ? Number.NaN : 0;
    this.#open.set(descriptor, { node, path, process, position });
    return descriptor;
  }

  // Bytes.

  #write(open: OpenFile & { node: FileNode }, buffers: readonly Uint8Array[], position: number | undefined): number {
    const { node, path } = open;
    const start = position ?? (Number.isNaN(open.position) ? node.size : open.position);
    if (this.#faulted("write", path, "EIO", this.faults.writeError)) throw failed("EIO", "write", path);
    let room = Number.POSITIVE_INFINITY;
    if (this.isFull) {
      // What is inside the file has its place already.
      room = Math.max(0, node.size - start);
      if (room === 0) {
        this.#options.onEvent?.({ call: "write", path, fault: "ENOSPC" });
        throw failed("ENOSPC", "write", path);
      }
    }
    if (this.#faulted("write", path, "short", this.faults.shortWrite)) {
      const total = buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
      room = Math.min(room, 1 + Math.floor(this.#options.random() * total));
    }
    let at = start;
    for (const buffer of buffers) {
      const bytes = buffer.byteLength > room ? buffer.slice(0, room) : buffer.slice();
      if (bytes.byteLength === 0) continue;
      this.digest = crc32(bytes, this.digest);
      this.#resize(node, Math.max(node.size, at + bytes.byteLength));
      node.bytes.set(bytes, at);
      this.#change(node, { kind: "write", at, bytes });
      at += bytes.byteLength;
      room -= bytes.byteLength;
    }
    if (position === undefined && !Number.isNaN(open.position)) open.position = at;
    return at - start;
  }

  #resize(node: FileNode, size: number): void {
    if (size > node.bytes.byteLength) {
      const grown = new Uint8Array(Math.max(size, 2 * node.bytes.byteLength));
      grown.set(node.bytes.subarray(0, node.size));
      node.bytes = grown;
    } else if (size < node.size) node.bytes.fill(0, size, node.size);
    node.size = size;
  }

  #change(node: FileNode, change: UnsyncedChange): void {
    node.unsynced.push(change);
    this.#dirty.add(node);
  }

  #syncFile(call: string, { node, path }: OpenFile & { node: FileNode }): void {
    const { random, pass } = this.#options;
    pass(this.#faulted(call, path, "slow", this.faults.slowSync) ? 2000 * random() : 0.05 + 0.3 * random());
    const unsynced = node.unsynced.splice(0);
    this.#dirty.delete(node);
    if (this.#faulted(call, path, "EIO", this.faults.syncError)) {
      // As Linux does: what did not reach the disk is taken for clean, is still read, and no later sync writes it.
      for (const change of unsynced) if (random() < 0.5) makeDurable(node, change);
      throw failed("EIO", call, path);
    }
    for (const change of unsynced) makeDurable(node, change);
  }

  #syncFolder(folder: FolderNode): void {
    this.#options.pass(0.05 + 0.2 * this.#options.random());
    const left: EntryChanges[] = [];
    for (const group of this.#entryChanges) {
      if (group.some((change) => change.folder === folder))
        for (const change of group) setEntry(change.folder.durable, change.name, change.node);
      else left.push(group);
    }
    this.#entryChanges = left;
  }

  // The end of a process.

  /** The process is killed: what it wrote stays, and nothing is synced by that. */
  kill(): void {
    this.#isCut = true;
    this.#note("kill", "");
  }

  /** The power goes: of what was not synced, a part survives that the random numbers choose. */
  cutPower(): void {
    this.#isCut = true;
    const { random } = this.#options;
    const keep = survives(random);
    for (const group of this.#entryChanges)
      if (keep.entry()) for (const { folder, name, node } of group) setEntry(folder.durable, name, node);
    this.#entryChanges = [];
    for (const node of this.#dirty) {
      for (const change of node.unsynced) for (const kept of keep.parts(change)) makeDurable(node, kept);
      node.unsynced = [];
    }
    this.#dirty.clear();
    this.#forgetCache(this.#root);
    this.#note("power", "");
  }

  /** What a process sees is what is durable. */
  #forgetCache(folder: FolderNode): void {
    folder.entries = new Map(folder.durable);
    for (const node of folder.durable.values()) {
      if (node.kind === "folder") this.#forgetCache(node);
      else {
        node.bytes = node.durable.slice(0, node.durableSize);
        node.size = node.durableSize;
      }
    }
  }

  // What an observer does.

  /** Paths of all files. */
  paths(): string[] {
    const found: string[] = [];
    const walk = (folder: FolderNode, path: string): void => {
      for (const [name, node] of folder.entries) {
        if (node.kind === "folder") walk(node, `${path}/${name}`);
        else found.push(`${path}/${name}`);
      }
    };
    walk(this.#root, "");
    return found.sort();
  }

  /** The bytes of a file, to look at. */
  contentOf(path: string): Uint8Array {
    const node = this.#find(path);
    if (node?.kind !== "file") throw new Error(`no file ${path}`);
    return node.bytes.subarray(0, node.size);
  }

  /** Damages a file, on the disk itself, as no call of a process does. */
  damage(path: string, edit: (bytes: Uint8Array) => void): void {
    const node = this.#find(path);
    if (node?.kind !== "file") throw new Error(`no file ${path}`);
    edit(node.bytes.subarray(0, node.size));
    edit(node.durable.subarray(0, node.durableSize));
  }

  /** A disk of its own with the same files, all durable. */
  copy(options: DiskOptions): SimulatedDisk {
    const copy = new SimulatedDisk(options);
    const copied = (folder: FolderNode): FolderNode => {
      const entries = new Map<string, DiskNode>();
      for (const [name, node] of folder.entries) {
        if (node.kind === "folder") entries.set(name, copied(node));
        else {
          const bytes = node.bytes.slice(0, node.size);
          const { size } = node;
          entries.set(name, { kind: "file", bytes, size, durable: bytes.slice(), durableSize: size, unsynced: [] });
        }
      }
      return { kind: "folder", entries, durable: new Map(entries) };
    };
    copy.#root = copied(this.#root);
    return copy;
  }
}

const setEntry = (entries: Map<string, DiskNode>, name: string, node: DiskNode | undefined): void => {
  if (node) entries.set(name, node);
  else entries.delete(name);
};

const makeDurable = (node: FileNode, change: UnsyncedChange): void => {
  const size = change.kind === "size" ? change.size : Math.max(node.durableSize, change.at + change.bytes.byteLength);
  if (size > node.durable.byteLength) {
    const grown = new Uint8Array(Math.max(size, 2 * node.durable.byteLength));
    grown.set(node.durable.subarray(0, node.durableSize));
    node.durable = grown;
  } else if (size < node.durableSize) node.durable.fill(0, size, node.durableSize);
  node.durableSize = size;
  if (change.kind === "write") node.durable.set(change.bytes, change.at);
};
