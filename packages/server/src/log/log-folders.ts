/** The folders of a log, made if they are not there, with names that survive a power cut. */
import { dirname, join } from "node:path";
import type { Files } from "@headrace/engine";
import { makeDurableFolder, syncNames } from "./segment.ts";

export const openLogFolders = (folder: string, files: Files): { walFolder: string; historyFolder: string } => {
  const walFolder = join(folder, "wal");
  const historyFolder = join(folder, "history");
  makeDurableFolder(walFolder, files);
  makeDurableFolder(historyFolder, files);
  // A process that was killed may have made folders and files and not have come to sync their names.
  for (const named of [dirname(folder), folder, walFolder, historyFolder]) syncNames(named, files);
  return { walFolder, historyFolder };
};
