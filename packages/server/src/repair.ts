/** Repairs a data folder that no node uses. */
import { existingDataFolder } from "./data-folder.ts";
import { lockFolder, type RepairReport, repairLog } from "./log/index.ts";

/**
 * Makes a damaged log usable again and records what is lost. Damaged files are moved to the folder `damaged`, never deleted.
 *
 * @throws HR_DATA_FOLDER_LOCKED while a node uses it; HR_DATA_FOLDER_UNUSABLE when it is no data folder; HR_BLOCK_CORRUPT when a file
 * stands in another one's place
 */
export const repairDataFolder = (folder: string, nowMs = Date.now()): RepairReport => {
  const path = existingDataFolder(folder);
  using _lock = lockFolder(path);
  return repairLog(path, nowMs);
};
