/**
 * One process per data folder. The lock is SQLite's exclusive file lock, which the kernel lifts when the process ends however it ends,
 * so there is no stale lock to judge by process ids; the id beside it is for the message only.
 */
import { accessSync, constants, existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { HeadraceError } from "@headrace/sdk";
import { nodeFiles } from "./node-files.ts";
import { syncNames } from "./segment.ts";

const explain = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Not mkdir's own `recursive`: it never returns where a folder exists and says ENOENT for what is made in it (/proc, automounts). */
const makeFolder = (folder: string): void => {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: 0o750 });
    syncNames(dirname(folder), nodeFiles);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
};

/** Takes the folder, making it if it is not there. @throws HR_DATA_FOLDER_LOCKED, HR_DATA_FOLDER_UNUSABLE */
export const lockFolder = (folder: string): Disposable => {
  try {
    makeFolder(folder);
    if (!lstatSync(folder).isDirectory()) throw new Error("it is not a folder");
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new HeadraceError("HR_DATA_FOLDER_UNUSABLE", `the data folder ${folder} cannot be used: ${explain(error)}`, {
      cause: error,
      data: { folder },
    });
  }
  const pidFile = join(folder, "lock.pid");
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(join(folder, "lock"));
    // An open transaction that writes nothing: a crash can leave no half-written file that the next start could not read.
    database.exec("BEGIN EXCLUSIVE");
    writeFileSync(pidFile, `${process.pid}\n`);
  } catch (error) {
    database?.close();
    if (!/locked|busy/i.test(explain(error))) {
      throw new HeadraceError(
        "HR_DATA_FOLDER_UNUSABLE",
        `the data folder ${folder} cannot be written: ${explain(error)}`,
        { cause: error, data: { folder } },
      );
    }
    let pid = "unknown";
    try {
      pid = readFileSync(pidFile, "utf8").trim();
    } catch {
      // The other process has not written its id yet.
    }
    throw new HeadraceError("HR_DATA_FOLDER_LOCKED", `the data folder ${folder} is in use by process ${pid}`, {
      data: { folder, pid },
    });
  }
  const held = database;
  return { [Symbol.dispose]: () => held.isOpen && held.close() };
};
