/** Copies the lake's files as one version of its manifest lists them, also while they are written. */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { HeadraceError } from "@headrace/sdk";
import { type Survey, writeDurably } from "../log/index.ts";
import { journalFile, listedFiles } from "./manifest.ts";

const attemptsMax = 20;

/** @throws HR_UNAVAILABLE when the lake changes faster than it can be copied */
export const copyLake = (from: string, to: string, survey: Survey): void => {
  if (!existsSync(journalFile(from))) return;
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    rmSync(to, { recursive: true, force: true });
    mkdirSync(to, { recursive: true });
    const journal = readFileSync(journalFile(from));
    writeDurably(journalFile(to), journal.subarray(0, journal.lastIndexOf(0x0a) + 1));
    try {
      for (const { path, bytes } of listedFiles(to)) {
        survey.expect(join(from, path));
        writeDurably(join(to, path), readFileSync(join(from, path)));
        survey.read(bytes);
      }
      return;
    } catch (error) {
      // Merged or expired in between; the manifest of now says by what it was replaced.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  throw new HeadraceError("HR_UNAVAILABLE", "the lake changes faster than it can be copied");
};
