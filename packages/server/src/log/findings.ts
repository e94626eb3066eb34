/** What a look through stored files has found, and how far it is. */
import { existsSync, statSync } from "node:fs";

/** Damage, or something worth knowing. */
export interface Finding {
  /** `damage` stops a start or a read; `note` needs nothing. */
  readonly kind: "damage" | "note";
  readonly file: string;
  /** Byte in the file, where it is known. */
  readonly offset?: number;
  /** Names of the logs that are touched; `all` when that cannot be told. */
  readonly logs: readonly string[];
  readonly message: string;
}

/** Called as bytes are read. */
export type Progress = (doneBytes: number, totalBytes: number) => void;

export class Survey {
  readonly findings: Finding[] = [];
  readonly #onProgress: Progress;
  files = 0;
  /** Bytes of all files that are looked at. */
  bytes = 0;
  #doneBytes = 0;

  constructor(onProgress: Progress) {
    this.#onProgress = onProgress;
  }

  /** Says that a file will be read; one that is missing is found when it is. */
  expect(file: string): void {
    this.files++;
    if (existsSync(file)) this.bytes += statSync(file).size;
  }
  read(bytes: number): void {
    this.#doneBytes += bytes;
    this.#onProgress(Math.min(this.#doneBytes, this.bytes), this.bytes);
  }
  damage(finding: Omit<Finding, "kind">): void {
    this.findings.push({ kind: "damage", ...finding });
  }
  note(finding: Omit<Finding, "kind" | "logs">): void {
    this.findings.push({ kind: "note", logs: [], ...finding });
  }
}
