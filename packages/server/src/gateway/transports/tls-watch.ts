/** Keeps TLS up to date: reads its files again when they change or when asked, and goes on with the last good ones when the new are bad (I7). */
import { statSync } from "node:fs";
import { HeadraceError } from "@headrace/sdk";
import { readTlsFiles, type TlsFiles, type TlsMaterial, validUntilMs } from "./tls-material.ts";

/** Looking is one stat per file. Files are not watched: what replaces a file or a link to it is not always told. */
const lookIntervalMs = 10_000;

export interface TlsWatchOptions {
  readonly files: TlsFiles;
  readonly nowMs?: () => number;
  readonly intervalMs?: number;
  readonly onChange: (material: TlsMaterial) => void;
  /** Called once for each different reason. */
  readonly onTrouble: (error: Error) => void;
}

export class TlsWatch implements Disposable {
  readonly #options: TlsWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #signature: string;
  #trouble = "";
  #material: TlsMaterial;

  /** @throws HR_TLS_INVALID */
  constructor(options: TlsWatchOptions) {
    this.#options = options;
    this.#signature = signatureOf(options.files);
    this.#material = readTlsFiles(options.files);
  }

  /** Looks from now on. */
  start(): void {
    this.#timer = setInterval(() => this.look(), this.#options.intervalMs ?? lookIntervalMs).unref();
  }

  get material(): TlsMaterial {
    return this.#material;
  }

  /** Reads the files again when they are not those that were read, or when reading them failed. */
  look(): void {
    const signature = signatureOf(this.#options.files);
    if (signature !== this.#signature || this.#trouble !== "") this.reload(signature);
  }

  /** Reads the files; a bad one changes nothing. */
  reload(signature = signatureOf(this.#options.files)): void {
    const { files, nowMs = Date.now, onChange, onTrouble } = this.#options;
    try {
      const material = readTlsFiles(files);
      const now = nowMs();
      if (validUntilMs(material) < now && validUntilMs(this.#material) >= now)
        throw new HeadraceError(
          "HR_TLS_INVALID",
          `the certificate in ${files.certificate} has expired; the one in use has not`,
        );
      this.#signature = signature;
      this.#trouble = "";
      this.#material = material;
      onChange(material);
    } catch (error) {
      const trouble = error as Error;
      if (trouble.message === this.#trouble) return;
      this.#trouble = trouble.message;
      onTrouble(trouble);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Which files are there: links are followed, so that a link to another file counts. */
const signatureOf = ({ certificate, key, authorities, revoked }: TlsFiles): string =>
  [certificate, key, authorities, revoked]
    .filter((file) => file !== undefined)
    .map((file) => {
      const found = statSync(file, { throwIfNoEntry: false });
      return found === undefined ? "none" : `${found.ino} ${found.size} ${found.mtimeMs}`;
    })
    .join("|");
