/**
 * Checks the snapshots of a data folder against the log that is read beside them: each is whole, was made of the commit that the journal has at its
 * sequence, and stands at positions that the logs have reached (S13, S16, S17).
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { type BlockHeader, decodeCommit } from "@headrace/engine";
import type { Survey } from "../../log/index.ts";
import { SnapshotStore, type SoundSnapshot } from "./store.ts";

export class SnapshotCheck {
  readonly #survey: Survey;
  readonly #sound: { readonly task: string; readonly snapshot: SoundSnapshot }[] = [];
  /** By journal and sequence of its last commit. */
  readonly #byCommit = new Map<string, { task: string; path: string; crc: number }[]>();
  readonly #ends = new Map<string, number>();

  /** Reads every snapshot below `folder`. */
  constructor(folder: string, survey: Survey) {
    this.#survey = survey;
    if (!existsSync(folder)) return;
    const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
      /\d{16}\.snap$/.test(name),
    );
    for (const name of names) survey.expect(join(folder, name));
    for (const name of names.sort((a, b) => a.localeCompare(b))) this.#read(folder, join(folder, name));
  }

  #read(folder: string, path: string): void {
    const taskFolder = join(path, "..");
    const task = relative(folder, taskFolder).split(sep).map(decodeURIComponent).join("/");
    const snapshot = new SnapshotStore(taskFolder).read(Number.parseInt(path.slice(-21), 10));
    this.#survey.read(statSync(path).size);
    if (!("header" in snapshot)) {
      this.#survey.damage({ file: path, logs: [`journal/${task}`], message: snapshot.reason });
      return;
    }
    const { journalLogId, journalCrc, sequence } = snapshot.header;
    this.#sound.push({ task, snapshot });
    const commit = `${journalLogId}/${sequence}`;
    this.#byCommit.set(commit, [...(this.#byCommit.get(commit) ?? []), { task, path, crc: journalCrc }]);
  }

  /** Takes the header of each sound block of the log, in order. */
  block({ logId, writer, sequence, recordCount, crc }: BlockHeader): void {
    this.#ends.set(`${logId}/${writer}`, sequence + recordCount);
    if (logId !== writer) return;
    for (const made of this.#byCommit.get(`${logId}/${sequence}`) ?? []) {
      if (made.crc === crc) continue;
      const message = `commit ${sequence} of the journal is another one than the snapshot was made of`;
      this.#survey.damage({ file: made.path, logs: [`journal/${made.task}`], message });
    }
  }

  /** Everything has been read. @param ends where channels end that have no blocks any more, `logId/writer` */
  finish(ends: ReadonlyMap<string, number>): void {
    const endOf = (logId: number, writer: number): number =>
      Math.max(this.#ends.get(`${logId}/${writer}`) ?? 0, ends.get(`${logId}/${writer}`) ?? 0);
    for (const { task, snapshot } of this.#sound) {
      const { header, path, blocks } = snapshot;
      const { journalLogId, sequence } = header;
      const found = (message: string): void => this.#survey.damage({ file: path, logs: [`journal/${task}`], message });
      const end = endOf(journalLogId, journalLogId);
      if (sequence >= end) found(`the log went backwards: it holds commit ${sequence}, the journal ends at ${end}`);
      const last = blocks.at(-1);
      for (const { logId, writer, low } of last ? decodeCommit(last).positions : []) {
        const inputEnd = endOf(logId, writer);
        if (low > inputEnd)
          found(`it stands at record ${low} of log ${logId}, writer ${writer}, which ends at ${inputEnd}`);
      }
    }
  }
}
