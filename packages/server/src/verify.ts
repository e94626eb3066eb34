/** Verifies a whole data folder that no node uses: log and lake. */
import { join } from "node:path";
import { existingDataFolder } from "./data-folder.ts";
import { verifyLake } from "./lake/index.ts";
import { type Finding, type LogSurvey, lockFolder, type Progress, Survey, verifyLog } from "./log/index.ts";

/** What is in a data folder, and what is wrong with it. */
export interface DataSurvey extends LogSurvey {
  readonly folder: string;
  /** True when nothing is damaged. */
  readonly sound: boolean;
  readonly lakeFiles: number;
  readonly lakeRows: number;
}

/**
 * Reads every file of a data folder and checks it. The folder is locked meanwhile; nothing in it is changed.
 *
 * @param onProgress told in bytes, log first, then lake
 * @throws HR_DATA_FOLDER_LOCKED while a node uses it; HR_DATA_FOLDER_UNUSABLE when it is no data folder
 */
export const verifyDataFolder = (folder: string, onProgress: Progress = () => undefined): DataSurvey => {
  const path = existingDataFolder(folder);
  using _lock = lockFolder(path);
  const log = verifyLog(path, onProgress);
  const lake = new Survey((done, total) => onProgress(log.bytes + done, log.bytes + total));
  const lakeRows = verifyLake(join(path, "lake"), lake);
  const findings: Finding[] = [...log.findings, ...lake.findings];
  return {
    ...log,
    folder: path,
    sound: !findings.some(({ kind }) => kind === "damage"),
    lakeFiles: lake.files,
    lakeRows,
    findings,
  };
};
