/**
 * Damage on a copy of the disk, between two lives: a bit that flips, a sector of zeros, or one that was written to a wrong place. The log must refuse to start
 * or to read with HR_BLOCK_CORRUPT, or hold exactly what it holds without the damage. The very last frame is left out: docs/promises.md says why.
 */
import { readBlockHeader } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { checksum, EmbeddedLog } from "@headrace/server/log";
import type { SimulatedDisk } from "@headrace/testkit/simulation";
import type { Chance } from "./chance.ts";
import { dataFolder } from "./node.ts";
import { SimulatedThreads } from "./threads.ts";

export interface Probe {
  readonly violations: readonly string[];
  readonly outcome?: "damage is found" | "damage touches nothing that is used";
}

const sectorBytes = 512;
const segmentHeaderBytes = 64;
const frameMagic = 0x31475248;

/** Opens the log on a disk and reads everything: a checksum per channel. Its background work does not get a turn. */
const contentOf = async (disk: SimulatedDisk, chance: Chance, segmentBytes: number): Promise<string> => {
  const files = disk.openProcess();
  const definition = { name: "none", streams: [], functions: [], windows: [] };
  const threads = new SimulatedThreads({
    chance,
    files,
    definition,
    append: () => Promise.resolve(),
    onZombie: () => undefined,
  });
  const log = await EmbeddedLog.open({
    folder: dataFolder,
    segmentBytes,
    onFatal: () => undefined,
    system: { files, startMaintenance: threads.startMaintenance, random32: () => 1 },
  });
  const content: string[] = [];
  for (const { id, name } of log.list("")) {
    for (const { logId, writer, startSequence, endSequence } of log.channels(id)) {
      let crc = 0;
      let at = startSequence;
      while (at < endSequence) {
        const blocks = await log.read({ logId, writer }, at, 1 << 20);
        if (blocks.length === 0) break;
        for (const block of blocks) {
          crc = checksum(block, crc);
          const { sequence, recordCount } = readBlockHeader(block);
          at = sequence + recordCount;
        }
      }
      content.push(`${name} ${writer}: ${startSequence}-${at} ${crc}`);
    }
  }
  return content.sort().join("\n");
};

/** Where the last frame of a segment begins, and where it ends. */
const lastFrame = (bytes: Uint8Array): { from: number; to: number } => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let frame = { from: 0, to: segmentHeaderBytes };
  for (let at = segmentHeaderBytes; at + 48 <= bytes.byteLength && view.getUint32(at, true) === frameMagic; ) {
    frame = { from: at, to: at + view.getUint32(at + 8, true) };
    at = frame.to;
  }
  return frame;
};

export const probeDamage = async (disk: SimulatedDisk, chance: Chance, segmentBytes: number): Promise<Probe> => {
  const copyOf = (): SimulatedDisk =>
    disk.copy({ random: chance.random, pass: () => undefined, onCut: () => undefined });
  const isLog = (path: string): boolean => /\.(wal|hist)$|\/manifest$/.test(path);
  const paths = disk.paths().filter((path) => isLog(path) && disk.contentOf(path).byteLength > 0);
  if (paths.length === 0) return { violations: [] };
  const path = chance.one(paths);
  const original = disk.contentOf(path).slice();
  const at = chance.below(original.byteLength);
  const used = paths.filter(
    (one) =>
      one.endsWith(".wal") &&
      disk
        .contentOf(one)
        .subarray(0, 64)
        .some((byte) => byte !== 0),
  );
  const last = path === used.at(-1) ? lastFrame(original) : undefined;
  const kind = chance.one(["bit", "zeros", "misdirected"] as const);
  const from = chance.one(paths);
  const source = disk.contentOf(from).slice();
  const sourceAt = chance.below(Math.ceil(source.byteLength / sectorBytes)) * sectorBytes;
  const bit = 1 << chance.below(8);
  const start = Math.floor(at / sectorBytes) * sectorBytes;
  const range = kind === "bit" ? { from: at, to: at + 1 } : { from: start, to: start + sectorBytes };
  if (last && range.from < last.to && range.to > last.from) return { violations: [] };
  const what = `${kind} at byte ${range.from} of ${path}${kind === "misdirected" ? ` from ${from} ${sourceAt}` : ""}`;
  const sound = await contentOf(copyOf(), chance, segmentBytes);
  const damaged = copyOf();
  damaged.damage(path, (bytes) => {
    if (kind === "bit") bytes[at] = (bytes[at] ?? 0) ^ bit;
    else if (kind === "zeros") bytes.fill(0, range.from, range.to);
    else bytes.set(source.subarray(sourceAt, sourceAt + Math.min(sectorBytes, bytes.byteLength - start)), start);
  });
  try {
    const content = await contentOf(damaged, chance, segmentBytes);
    if (content === sound) return { violations: [], outcome: "damage touches nothing that is used" };
    return { violations: [`damage is not found: ${what}`] };
  } catch (error) {
    if (error instanceof HeadraceError && error.code === "HR_BLOCK_CORRUPT")
      return { violations: [], outcome: "damage is found" };
    return { violations: [`${what} shows as ${String(error)}`] };
  }
};
