/** What every operation on a data folder asks first. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { HeadraceError } from "@headrace/sdk";

/** The absolute path of a data folder. @throws HR_DATA_FOLDER_UNUSABLE when it is none */
export const existingDataFolder = (folder: string): string => {
  const path = resolve(folder);
  if (!existsSync(join(path, "wal")))
    throw new HeadraceError("HR_DATA_FOLDER_UNUSABLE", `${path} is no data folder: it has no folder wal`, {
      data: { folder: path },
    });
  return path;
};
