/** Verifies a whole data folder that no node uses: snapshots, log and lake. */
import { join } from "node:path";
import { existingDataFolder } from "./data-folder.ts";
import { verifyLake } from "./lake/index.ts";
import { type Finding, type LogSurvey, lockFolder, type Progress, Survey, verifyLog } from "./log/index.ts";
import { SnapshotCheck } from "./runtime/index.ts";

/** What is in a data folder, and what is wrong with it. */
export interface DataSurvey extends LogSurvey {
  readonly folder: string;
  /** True when nothing is damaged. */
  readonly sound: boolean;
  readonly snapshotFiles: number;
  readonly lakeFiles: number;
  readonly lakeRows: number;
}

/**
 * Reads every file of a data folder and checks it. The folder is locked meanwhile; nothing in it is changed.
 *
 * @param onProgress told in bytes: snapshots, log, lake
 * @throws HR_DATA_FOLDER_LOCKED while a node uses it; HR_DATA_FOLDER_UNUSABLE when it is no data folder
 */
export const verifyDataFolder = (folder: string, onProgress: Progress = () => undefined): DataSurvey => {
  const path = existingDataFolder(folder);
  using _lock = lockFolder(path);
  const snapshots = new Survey(onProgress);
  const check = new SnapshotCheck(join(path, "snapshots"), snapshots);
  const behind =
    (bytes: number): Progress =>
    (done, total) =>
      onProgress(bytes + done, bytes + total);
  const { ends, ...log } = verifyLog(path, behind(snapshots.bytes), (header) => check.block(header));
  // Behind damage the ends of the logs are not known.
  if (!log.findings.some(({ kind }) => kind === "damage")) check.finish(ends);
  const lake = new Survey(behind(snapshots.bytes + log.bytes));
  const lakeRows = verifyLake(join(path, "lake"), lake);
  const findings: Finding[] = [...snapshots.findings, ...log.findings, ...lake.findings];
  return {
    ...log,
    folder: path,
    sound: !findings.some(({ kind }) => kind === "damage"),
    snapshotFiles: snapshots.files,
    lakeFiles: lake.files,
    lakeRows,
    findings,
  };
};
