/** The API token: made once per data folder, readable by its owner only. */
import { randomBytes } from "node:crypto";
import { chmodSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { HeadraceError } from "@headrace/sdk";

const tokenBytes = 32;

/**
 * The token in `file`, which is made with mode 0600 if it does not exist. One process per data folder calls this.
 *
 * @throws HeadraceError `HR_DATA_FOLDER_UNUSABLE` when the file can be neither read nor written
 */
export function readOrMakeToken(file: string): string {
  try {
    const token = readFileSync(file, "utf8").trim();
    if (token.length >= tokenBytes) {
      chmodSync(file, 0o600);
      return token;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw unusable(file, error);
  }
  const token = randomBytes(tokenBytes).toString("base64url");
  try {
    // Written beside and renamed: a crash leaves either no token or a whole one.
    writeFileSync(`${file}.new`, `${token}\n`, { mode: 0o600, flush: true });
    renameSync(`${file}.new`, file);
  } catch (error) {
    throw unusable(file, error);
  }
  return token;
}

const unusable = (file: string, cause: unknown): HeadraceError =>
  new HeadraceError("HR_DATA_FOLDER_UNUSABLE", `the API token ${file}: ${(cause as Error).message}`, { cause });
