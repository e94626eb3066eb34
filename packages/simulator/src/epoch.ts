/** The epoch of a fleet: grows with every start, so that sequences may begin at 1 again. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Takes the next epoch from the file, durably before it is used: after a crash the next start gets a higher one.
 *
 * @throws Error when the file is there but holds no epoch: starting at 1 would make the server drop messages as repeats.
 */
export function nextEpoch(stateFile: string): number {
  const epoch = readEpoch(stateFile) + 1;
  mkdirSync(dirname(stateFile), { recursive: true });
  const temporary = `${stateFile}.new`;
  const file = openSync(temporary, "w");
  try {
    writeSync(file, `${JSON.stringify({ epoch })}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, stateFile);
  const folder = openSync(dirname(stateFile), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
  return epoch;
}

function readEpoch(stateFile: string): number {
  let text: string;
  try {
    text = readFileSync(stateFile, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return 0;
    throw error;
  }
  const { epoch } = JSON.parse(text) as { epoch?: unknown };
  if (!Number.isSafeInteger(epoch))
    throw new Error(`${stateFile} holds no epoch: delete it only with the server's data`);
  return epoch as number;
}
