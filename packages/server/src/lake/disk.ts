/** Files that survive a power cut: written, synced, renamed, folder synced. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync } from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";

/** Makes the content of a file or folder durable. */
export const syncPath = (path: string): void => {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
};

/** Makes a folder and those above it, each durable in the one above. */
export const makeFolder = (folder: string): void => {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  mkdirSync(folder);
  syncPath(dirname(folder));
};

/** Moves a finished file to its place, durably. */
export const publishFile = (temporary: string, path: string): void => {
  syncPath(temporary);
  makeFolder(dirname(path));
  renameSync(temporary, path);
  syncPath(dirname(path));
};

/** Size and checksum of a file's content. */
export const contentOf = (path: string): { bytes: number; crc: number } => {
  const content = readFileSync(path);
  return { bytes: content.byteLength, crc: crc32(content) };
};
