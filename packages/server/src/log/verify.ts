/**
 * Reads everything that the log keeps and says what is damaged, changing nothing: manifest, history files block by block, write-ahead
 * segments frame by frame, and that each channel goes on where it ended (P6).
 */
import { closeSync, existsSync, openSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type BlockHeader, readBlockHeader, readSections, sectionBytes, verifyBlock } from "@headrace/engine";
import { HeadraceError } from "@headrace/sdk";
import { checksum } from "./checksum.ts";
import { type Finding, type Progress, Survey } from "./findings.ts";
import { readHistoryBlock, readHistoryIndex } from "./history-file.ts";
import { type Gap, readManifest } from "./history-manifest.ts";
import { recoverWal } from "./recovery.ts";
import type { ChannelEnd } from "./rewrite.ts";
import { listSegments, segmentFile } from "./segment.ts";

/** What a log's files hold. */
export interface LogSurvey {
  readonly files: number;
  readonly bytes: number;
  readonly blocks: number;
  readonly records: number;
  readonly logs: number;
  readonly channels: number;
  /** A group that was being written when the node stopped: nothing of it was acknowledged, and the next start cuts it. */
  readonly tornTail?: { readonly file: string; readonly offset: number };
  /** Losses that an operator has accepted. */
  readonly gaps: readonly (Gap & { readonly log: string })[];
  readonly findings: readonly Finding[];
}

const catalogueLog = 0;
const catalogueSection = 1;

class Reading {
  readonly #survey: Survey;
  readonly #onBlock: (header: BlockHeader) => void;
  readonly #names = new Map<number, string>();
  readonly #gaps = new Set<string>();
  readonly #ends = new Map<string, { end: number; epoch: number }>();
  blocks = 0;
  records = 0;

  constructor(survey: Survey, onBlock: (header: BlockHeader) => void) {
    this.#survey = survey;
    this.#onBlock = onBlock;
  }

  /** Says that records are lost and that somebody has agreed to it. */
  accept({ logId, writer, fromSequence, toSequence }: Gap): void {
    this.#gaps.add(`${logId}/${writer}/${fromSequence}/${toSequence}`);
  }

  get channels(): number {
    return this.#ends.size;
  }
  get logs(): number {
    return this.#names.size;
  }
  nameOf(logId: number): string {
    return logId === catalogueLog ? "catalogue" : (this.#names.get(logId) ?? `log ${logId}`);
  }

  /** Takes a block whose checksum is right: its channel must go on where it ended. */
  block(header: BlockHeader, block: Uint8Array, file: string, offset: number): void {
    this.blocks++;
    this.records += header.recordCount;
    if (header.logId === catalogueLog) this.#learnName(header, block);
    const channel = `${header.logId}/${header.writer}`;
    const known = this.#ends.get(channel);
    const name = this.nameOf(header.logId);
    const found = (message: string): void => this.#survey.damage({ file, offset, logs: [name], message });
    if (known) {
      // Journals, effects and the like lose what was trimmed while they are rewritten; streams lose whole files, oldest first.
      const isAccepted = this.#gaps.has(`${channel}/${known.end}/${header.sequence}`);
      const mayMiss = isAccepted || !name.startsWith("stream/");
      if (header.sequence < known.end)
        found(`writer ${header.writer} stands at ${known.end}, this block begins at ${header.sequence} again`);
      else if (header.sequence > known.end && !mayMiss)
        found(`records ${known.end} to ${header.sequence - 1} of writer ${header.writer} are missing before it`);
      if (header.epoch < known.epoch)
        found(`epoch ${header.epoch} of writer ${header.writer} follows epoch ${known.epoch}`);
    }
    this.#ends.set(channel, { end: header.sequence + header.recordCount, epoch: header.epoch });
    this.#onBlock(header);
  }

  /** Takes where the list of history says that channels end; what comes behind goes on from there. */
  ended([logId, writer, epoch, end]: ChannelEnd, file: string): void {
    const channel = `${logId}/${writer}`;
    const known = this.#ends.get(channel);
    if (known && known.end > end) {
      const message = `it says that writer ${writer} ends at ${end}, its files end at ${known.end}`;
      this.#survey.damage({ file, logs: [this.nameOf(logId)], message });
    } else this.#ends.set(channel, { end, epoch: Math.max(epoch, known?.epoch ?? 0) });
  }
  /** Where each channel ends, by `logId/writer`. */
  get ends(): Map<string, number> {
    return new Map([...this.#ends].map(([channel, { end }]) => [channel, end]));
  }

  #learnName(header: BlockHeader, block: Uint8Array): void {
    const bytes = sectionBytes(block, readSections(block, header), catalogueSection);
    if (!bytes) return;
    const entry = JSON.parse(new TextDecoder().decode(bytes)) as { type?: string; id: number; name: string };
    if (entry.type === "log") this.#names.set(entry.id, entry.name);
  }
}

/**
 * Verifies the log in a data folder that no node uses. Progress is told in bytes.
 *
 * @param onBlock takes the header of each sound block, in order
 * @returns what was found, and where each channel ends, by `logId/writer`
 * @throws HR_DATA_FOLDER_UNUSABLE when there is no log in it
 */
export const verifyLog = (
  folder: string,
  onProgress: Progress = () => undefined,
  onBlock: (header: BlockHeader) => void = () => undefined,
): LogSurvey & { readonly ends: ReadonlyMap<string, number> } => {
  const walFolder = join(folder, "wal");
  const historyFolder = join(folder, "history");
  if (!existsSync(walFolder))
    throw new HeadraceError("HR_DATA_FOLDER_UNUSABLE", `${folder} is no data folder: it has no folder wal`, {
      data: { folder },
    });
  const survey = new Survey(onProgress);
  const reading = new Reading(survey, onBlock);
  const gaps: Gap[] = [];
  const lastSegment = verifyHistory(historyFolder, survey, reading, gaps);
  const segments = listSegments(walFolder).filter((number) => number > lastSegment);
  for (const number of segments) survey.expect(segmentFile(walFolder, number));
  const tornTail = verifyWal(walFolder, lastSegment, segments, survey, reading);
  return {
    files: survey.files,
    bytes: survey.bytes,
    blocks: reading.blocks,
    records: reading.records,
    logs: reading.logs,
    channels: reading.channels,
    ...(tornTail && { tornTail }),
    gaps: gaps.map((gap) => ({ ...gap, log: reading.nameOf(gap.logId) })),
    findings: survey.findings,
    ends: reading.ends,
  };
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Returns the last segment that the history covers. */
const verifyHistory = (folder: string, survey: Survey, reading: Reading, gaps: Gap[]): number => {
  if (!existsSync(folder)) return 0;
  let manifest: ReturnType<typeof readManifest>;
  try {
    manifest = readManifest(folder);
  } catch (error) {
    survey.damage({ file: join(folder, "manifest"), logs: ["all"], message: messageOf(error) });
    return 0;
  }
  for (const gap of manifest.gaps) reading.accept(gap);
  gaps.push(...manifest.gaps);
  for (const path of manifest.files.keys()) survey.expect(join(folder, path));
  const known = new Set(manifest.files.keys());
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (/\.hist(\.tmp)?$/.test(name) && !known.has(name))
      survey.note({ file: join(folder, name), message: "is in no manifest: the next start removes it" });
  }
  for (const path of [...known].sort((a, b) => a.localeCompare(b))) {
    const { logId } = manifest.files.get(path) as { logId: number };
    verifyHistoryFile(join(folder, path), logId, survey, reading);
  }
  for (const end of manifest.ends) reading.ended(end, join(folder, "manifest"));
  return manifest.lastSegment;
};

/** What the index of a history file repeats of a block's header. */
const indexed = ["epoch", "recordCount", "earliestMs", "latestMs"] as const;

const verifyHistoryFile = (file: string, logId: number, survey: Survey, reading: Reading): void => {
  const logs = [reading.nameOf(logId)];
  let descriptor: number | undefined;
  try {
    const entries = readHistoryIndex(file, logId);
    descriptor = openSync(file, "r");
    for (const entry of entries) {
      try {
        const block = readHistoryBlock(descriptor, file, entry);
        const header = readBlockHeader(block);
        if (!verifyBlock(block, header, checksum)) throw new Error("the block fails its checksum");
        if (header.logId !== logId || header.writer !== entry.writer || header.sequence !== entry.sequence)
          throw new Error(`it holds log ${header.logId}, writer ${header.writer}, sequence ${header.sequence}`);
        if (indexed.some((field) => header[field] !== entry[field]))
          throw new Error(`the index says otherwise about sequence ${header.sequence}`);
        reading.block(header, block, file, entry.offset);
      } catch (error) {
        survey.damage({ file, offset: entry.offset, logs, message: messageOf(error) });
      }
      survey.read(entry.storedBytes);
    }
  } catch (error) {
    survey.damage({ file, logs, message: messageOf(error) });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
};

/** Behind damage in a segment nothing can be told apart from old data, so the first finding ends it. */
const verifyWal = (
  folder: string,
  after: number,
  segments: readonly number[],
  survey: Survey,
  reading: Reading,
): LogSurvey["tornTail"] => {
  let at = 0;
  try {
    const { cut } = recoverWal(folder, after, (segment, offset, header, block) => {
      const file = segmentFile(folder, segment);
      while (at < segments.length && segments[at] < segment)
        survey.read(statSync(segmentFile(folder, segments[at++])).size);
      reading.block(header, block, file, offset);
    });
    while (at < segments.length) survey.read(statSync(segmentFile(folder, segments[at++])).size);
    return cut && { file: segmentFile(folder, cut.segment), offset: cut.offset };
  } catch (error) {
    const { segment = segments[0] ?? 0, offset } = (error instanceof HeadraceError ? error.data : {}) as {
      segment?: number;
      offset?: number;
    };
    const place = offset === undefined ? {} : { offset };
    survey.damage({ file: segmentFile(folder, segment), ...place, logs: ["all"], message: messageOf(error) });
    return undefined;
  }
};
