/**
 * Backup and restore of a data folder by its files (ADR 0011). Order makes a backup consistent while the node writes: what follows the log
 * (snapshots, lake) is copied before it, what the log refers to after it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { HeadraceError } from "@headrace/sdk";
import { existingDataFolder } from "./data-folder.ts";
import { copyLake } from "./lake/index.ts";
import { copyLog, type Progress, Survey, writeDurably } from "./log/index.ts";
import { type DataSurvey, verifyDataFolder } from "./verify.ts";
import { version } from "./version.ts";

/** What `backup.json` says. */
export interface BackupInfo {
  readonly formatVersion: 1;
  readonly headrace: string;
  readonly createdAtMs: number;
  readonly source: string;
}

const infoFile = "backup.json";
/** Made by a node for its own run, or kept for inspection only. */
const notCopied = new Set(["lock", "lock.pid", "node.json", "wal", "history", "lake", "releases", "damaged", infoFile]);

const snapshots = "snapshots";
const attemptsMax = 10;

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

/** Files under a folder, relative to `from`. */
const filesIn = (from: string, folder: string): string[] => {
  if (!existsSync(join(from, folder))) return [];
  if (!statSync(join(from, folder)).isDirectory()) return [folder];
  return readdirSync(join(from, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));
};

/** Copies files; one that goes meanwhile was not needed. */
const copyFiles = (names: readonly string[], from: string, to: string, survey: Survey): void => {
  for (const name of names) {
    try {
      const state = statSync(join(from, name));
      if (!state.isFile() || name.endsWith(".tmp")) continue;
      survey.expect(join(from, name));
      writeDurably(join(to, name), readFileSync(join(from, name)), state.mode & 0o777);
      survey.read(state.size);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
};

/** The journal is kept behind the older of a task's two snapshots: one that is still there has all of its journal in the copy. */
const hasItsJournals = (from: string, to: string): boolean => {
  const byTask = Map.groupBy(
    filesIn(from, snapshots).filter((name) => name.endsWith(".snap")),
    dirname,
  );
  return [...byTask.values()].every((names) => names.length < 2 || names.some((name) => existsSync(join(to, name))));
};

const copyLogWithSnapshots = (from: string, to: string, survey: Survey): void => {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    rmSync(join(to, snapshots), { recursive: true, force: true });
    copyFiles(filesIn(from, snapshots), from, to, survey);
    copyLog(from, to, survey);
    if (hasItsJournals(from, to)) return;
  }
  throw new HeadraceError("HR_UNAVAILABLE", "snapshots are made faster than they can be copied");
};

const refuseNonEmpty = (folder: string): void => {
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new HeadraceError("HR_BAD_REQUEST", `${folder} is not empty: name a folder that is empty or does not exist`, {
      data: { folder },
    });
};

/** Copies into a folder beside `to` and gives it the name when it is whole and sound. */
const copyWhole = (from: string, to: string, onProgress: Progress, info: BackupInfo | undefined): DataSurvey => {
  refuseNonEmpty(to);
  const partial = `${to}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true, mode: 0o750 });
  const survey = new Survey(onProgress);
  copyLake(join(from, "lake"), join(partial, "lake"), survey);
  copyLogWithSnapshots(from, partial, survey);
  const rest = readdirSync(from).filter((name) => !notCopied.has(name) && name !== snapshots);
  for (const name of rest) copyFiles(filesIn(from, name), from, partial, survey);
  const checked = verifyDataFolder(partial, onProgress);
  if (!checked.sound) {
    const [first] = checked.findings.filter(({ kind }) => kind === "damage");
    throw new HeadraceError("HR_BLOCK_CORRUPT", `${from} is damaged, the copy stays in ${partial}: ${first?.message}`, {
      data: { folder: from, partial },
    });
  }
  for (const name of ["lock", "lock.pid"]) rmSync(join(partial, name), { force: true });
  if (info) writeDurably(join(partial, infoFile), Buffer.from(`${JSON.stringify(info)}\n`));
  if (existsSync(to)) rmSync(to, { recursive: true });
  mkdirSync(dirname(to), { recursive: true });
  renameSync(partial, to);
  return { ...checked, folder: to };
};

/**
 * Copies a data folder, also while its node runs: everything acknowledged before the call is in it, and the copy is read and checked as a
 * whole before it gets its name.
 *
 * @param target a folder that is empty or does not exist
 * @throws HR_DATA_FOLDER_UNUSABLE, HR_BAD_REQUEST when the target is not empty, HR_BLOCK_CORRUPT when the folder is damaged
 */
export const backupDataFolder = (
  folder: string,
  target: string,
  onProgress: Progress = () => undefined,
  nowMs = Date.now(),
): DataSurvey => {
  const from = existingDataFolder(folder);
  return copyWhole(from, resolve(target), onProgress, {
    formatVersion: 1,
    headrace: version,
    createdAtMs: nowMs,
    source: from,
  });
};

/**
 * Makes a data folder from a backup and checks it as a whole before it gets its name.
 *
 * @throws HR_BAD_REQUEST when `backup` is none or the folder is not empty, HR_BLOCK_CORRUPT when the backup is damaged
 */
export const restoreDataFolder = (
  backup: string,
  folder: string,
  onProgress: Progress = () => undefined,
): DataSurvey & { readonly backup: BackupInfo } => {
  const from = resolve(backup);
  let info: BackupInfo;
  try {
    info = JSON.parse(readFileSync(join(from, infoFile), "utf8")) as BackupInfo;
  } catch (cause) {
    throw new HeadraceError("HR_BAD_REQUEST", `${from} is no backup: it has no ${infoFile}`, { cause });
  }
  if (info.formatVersion !== 1)
    throw new HeadraceError("HR_BAD_REQUEST", `${from} has backup format ${info.formatVersion}; this version reads 1`);
  existingDataFolder(from);
  return { ...copyWhole(from, resolve(folder), onProgress, undefined), backup: info };
};
