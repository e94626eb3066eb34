/** The list of history files: an append-only file of lines `crc32c-hex json`, each made durable before a write-ahead segment is deleted. */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { corrupt } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { checksum } from "./checksum.ts";
import type { ChannelEnd } from "./rewrite.ts";
import { syncFolder } from "./segment.ts";

export type ManifestEntry =
  | {
      readonly segment: number;
      readonly files: readonly { readonly logId: number; readonly path: string; readonly byteLength: number }[];
      readonly ends: readonly ChannelEnd[];
    }
  | { readonly dropped: readonly string[] };

const encode = (entry: ManifestEntry): Buffer => {
  const text = JSON.stringify(entry);
  return Buffer.from(`${checksum(Buffer.from(text)).toString(16).padStart(8, "0")} ${text}\n`);
};

const manifestFile = (folder: string): string => join(folder, "manifest");

/**
 * Reads the manifest. A last line that is cut was never acted on; {@link cutManifest} removes it, once everything else has turned out sound: if it is
 * damage, the segment that it rewrote is gone and the start must be refused with nothing changed.
 * @throws HR_BLOCK_CORRUPT for any other damage
 */
export const readManifest = (
  folder: string,
): {
  lastSegment: number;
  files: Map<string, { logId: number; byteLength: number }>;
  ends: ChannelEnd[];
  tornAt: number | undefined;
} => {
  const ends = new Map<string, ChannelEnd>();
  const files = new Map<string, { logId: number; byteLength: number }>();
  let lastSegment = 0;
  const path = manifestFile(folder);
  let tornAt: number | undefined;
  if (!existsSync(path)) return { lastSegment, files, ends: [], tornAt };
  const bytes = readFileSync(path);
  let at = 0;
  while (at < bytes.byteLength) {
    const lineEnd = bytes.indexOf(10, at);
    const line = bytes.toString("utf8", at, lineEnd < 0 ? bytes.byteLength : lineEnd);
    const text = line.slice(9);
    const sound = lineEnd >= 0 && Number.parseInt(line.slice(0, 8), 16) === checksum(Buffer.from(text));
    if (!sound) {
      if (lineEnd >= 0 && lineEnd < bytes.byteLength - 1) throw corrupt(`${path} is damaged at byte ${at}`);
      tornAt = at;
      break;
    }
    const entry = JSON.parse(text) as ManifestEntry;
    if ("dropped" in entry) for (const dropped of entry.dropped) files.delete(dropped);
    else {
      lastSegment = Math.max(lastSegment, entry.segment);
      for (const file of entry.files) files.set(file.path, { logId: file.logId, byteLength: file.byteLength });
      for (const end of entry.ends) ends.set(`${end[0]}/${end[1]}`, end);
    }
    at = lineEnd + 1;
  }
  return { lastSegment, files, ends: [...ends.values()], tornAt };
};

/** Removes a torn last line. */
export const cutManifest = (folder: string, tornAt: number): void => truncateSync(manifestFile(folder), tornAt);

/** After a failed sync nobody knows what of the file is on disk, and the next sync would succeed without it: it is never tried again. */
const syncOnce = (descriptor: number, path: string): void => {
  try {
    fsyncSync(descriptor);
  } catch (cause) {
    throw new HeadraceError("HR_LOG_FAILED", `fsync of ${path} failed: ${String(cause)}`, { cause });
  }
};

/** Appends one entry and makes it durable. @throws HR_LOG_FAILED: the process must end */
export const appendManifest = (folder: string, entry: ManifestEntry): void => {
  const path = manifestFile(folder);
  const isNew = !existsSync(path);
  const descriptor = openSync(path, "a");
  try {
    const line = encode(entry);
    for (let at = 0; at < line.byteLength; ) at += writeSync(descriptor, line, at);
    syncOnce(descriptor, path);
  } finally {
    closeSync(descriptor);
  }
  if (isNew) syncFolder(folder);
};
