/** The Files port on the machine's file system: Node's functions themselves, so that a write or sync of the message path is one direct call. */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statfsSync,
  unlinkSync,
  writeSync,
  writevSync,
} from "node:fs";
import type { Files } from "@headrace/engine";

export const nodeFiles: Files = {
  open: openSync,
  close: closeSync,
  read: readSync,
  write: writeSync,
  writev: writevSync,
  fdatasync: fdatasyncSync,
  fsync: fsyncSync,
  size: (descriptor) => fstatSync(descriptor).size,
  truncate: ftruncateSync,
  readFile: (path) => readFileSync(path),
  exists: existsSync,
  list: (folder) => readdirSync(folder),
  makeFolder: (path) => mkdirSync(path),
  rename: renameSync,
  link: linkSync,
  remove: unlinkSync,
  freeBytes: (folder) => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  },
};
