/** The list of history files: an append-only file of lines `crc32c-hex json`, each made durable before a write-ahead segment is deleted. */
import { join } from "node:path";
import { corrupt, type Files } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { checksum } from "./checksum.ts";
import { nodeFiles } from "./node-files.ts";
import type { ChannelEnd } from "./rewrite.ts";
import { syncFolder } from "./segment.ts";

/** Records that are lost and that an operator has agreed to go on without (P6). */
export interface Gap {
  readonly logId: number;
  readonly writer: number;
  /** First record that is lost. */
  readonly fromSequence: number;
  /** First record behind the gap. */
  readonly toSequence: number;
  readonly reason: string;
  /** When it was accepted. */
  readonly timeMs: number;
}

/** One durable step; its parts take effect together. */
export interface ManifestEntry {
  /** History now covers everything up to this write-ahead segment. */
  readonly segment?: number;
  readonly files?: readonly { readonly logId: number; readonly path: string; readonly byteLength: number }[];
  readonly ends?: readonly ChannelEnd[];
  readonly dropped?: readonly string[];
  readonly gaps?: readonly Gap[];
}

export interface HistoryManifest {
  lastSegment: number;
  readonly files: Map<string, { logId: number; byteLength: number }>;
  readonly ends: ChannelEnd[];
  readonly gaps: Gap[];
  /** Where the last line is not whole. */
  tornAt?: number;
}

const encode = (entry: ManifestEntry): Buffer => {
  const text = JSON.stringify(entry);
  return Buffer.from(`${checksum(Buffer.from(text)).toString(16).padStart(8, "0")} ${text}\n`);
};

export const manifestFile = (folder: string): string => join(folder, "manifest");

/**
 * Reads the manifest. A last line that is cut was never acted on; {@link cutManifest} removes it, once everything else has turned out sound: if it is
 * damage, the segment that it rewrote is gone and the start must be refused with nothing changed.
 * @throws HR_BLOCK_CORRUPT for any other damage
 */
export const readManifest = (folder: string, files: Files = nodeFiles): HistoryManifest => {
  const ends = new Map<string, ChannelEnd>();
  const manifest: HistoryManifest = { lastSegment: 0, files: new Map(), ends: [], gaps: [] };
  const path = manifestFile(folder);
  if (!files.exists(path)) return manifest;
  const content = files.readFile(path);
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  let at = 0;
  while (at < bytes.byteLength) {
    const lineEnd = bytes.indexOf(10, at);
    const line = bytes.toString("utf8", at, lineEnd < 0 ? bytes.byteLength : lineEnd);
    const text = line.slice(9);
    const isWhole = lineEnd >= 0 && text.length > 0;
    const sound = isWhole && Number.parseInt(line.slice(0, 8), 16) === checksum(Buffer.from(text));
    if (!sound) {
      if (lineEnd >= 0 && lineEnd < bytes.byteLength - 1) throw corrupt(`${path} is damaged at byte ${at}`);
      manifest.tornAt = at;
      break;
    }
    const entry = JSON.parse(text) as ManifestEntry;
    for (const dropped of entry.dropped ?? []) manifest.files.delete(dropped);
    for (const { path: name, logId, byteLength } of entry.files ?? []) manifest.files.set(name, { logId, byteLength });
    for (const end of entry.ends ?? []) ends.set(`${end[0]}/${end[1]}`, end);
    manifest.gaps.push(...(entry.gaps ?? []));
    manifest.lastSegment = Math.max(manifest.lastSegment, entry.segment ?? 0);
    at = lineEnd + 1;
  }
  manifest.ends.push(...ends.values());
  return manifest;
};

/** Removes a torn last line. */
export const cutManifest = (folder: string, tornAt: number, files: Files = nodeFiles): void => {
  const descriptor = files.open(manifestFile(folder), "r+");
  try {
    files.truncate(descriptor, tornAt);
  } finally {
    files.close(descriptor);
  }
};

/**
 * Makes durable what was read, and cuts off a torn last line: before the segments go that the list covers. A process that was killed may have left its last
 * line in the kernel's cache only, and behind a sync that failed no later one would write it, so it is written again.
 */
export const settleManifest = (folder: string, { tornAt }: HistoryManifest, files: Files): void => {
  const path = manifestFile(folder);
  if (!files.exists(path)) return;
  const content = files.readFile(path);
  const end = tornAt ?? content.byteLength;
  const start = end < 2 ? 0 : content.lastIndexOf(10, end - 2) + 1;
  const descriptor = files.open(path, "r+");
  try {
    if (tornAt !== undefined) files.truncate(descriptor, tornAt);
    for (let at = start; at < end; ) at += files.write(descriptor, content, at, end - at, at);
    syncOnce(files, descriptor, path);
  } finally {
    files.close(descriptor);
  }
  syncFolder(folder, files);
};

/** After a failed sync nobody knows what of the file is on disk, and the next sync would succeed without it: it is never tried again. */
const syncOnce = (files: Files, descriptor: number, path: string): void => {
  try {
    files.fsync(descriptor);
  } catch (cause) {
    throw new HeadraceError("HR_LOG_FAILED", `fsync of ${path} failed: ${String(cause)}`, { cause });
  }
};

/** Writes a line whole or not at all: the step is tried again, and a line behind a part of another would be read as one damaged line. */
const writeLine = (files: Files, descriptor: number, line: Uint8Array, path: string): void => {
  const size = files.size(descriptor);
  try {
    for (let at = 0; at < line.byteLength; ) at += files.write(descriptor, line, at, line.byteLength - at);
  } catch (error) {
    try {
      files.truncate(descriptor, size);
    } catch (cause) {
      throw new HeadraceError("HR_LOG_FAILED", `a part of a line cannot be cut off ${path}: ${String(cause)}`, {
        cause,
      });
    }
    throw error;
  }
};

/** Appends one entry and makes it durable. Any error but HR_LOG_FAILED leaves the list as it was. @throws HR_LOG_FAILED: the process must end */
export const appendManifest = (folder: string, entry: ManifestEntry, files: Files = nodeFiles): void => {
  const path = manifestFile(folder);
  const isNew = !files.exists(path);
  const descriptor = files.open(path, "a");
  try {
    writeLine(files, descriptor, encode(entry), path);
    syncOnce(files, descriptor, path);
  } finally {
    files.close(descriptor);
  }
  if (isNew) syncFolder(folder, files);
};
