/** Reads every file of the lake and compares it with the manifest; changes nothing. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Survey } from "../log/index.ts";
import { contentOf } from "./disk.ts";
import { listedFiles } from "./manifest.ts";

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Adds what it finds in the lake of a data folder to `survey`; returns the rows that the manifest names. */
export const verifyLake = (folder: string, survey: Survey): number => {
  if (!existsSync(folder)) return 0;
  let rows = 0;
  let files: ReturnType<typeof listedFiles>;
  try {
    files = listedFiles(folder);
  } catch (error) {
    survey.damage({ file: join(folder, "manifest.journal"), logs: ["all"], message: messageOf(error) });
    return 0;
  }
  for (const { path } of files) survey.expect(join(folder, path));
  for (const { path, stream, bytes, crc, rows: fileRows } of files) {
    const file = join(folder, path);
    rows += fileRows;
    try {
      const content = contentOf(file);
      if (content.bytes !== bytes) throw new Error(`it has ${content.bytes} bytes, the manifest says ${bytes}`);
      if (content.crc !== crc) throw new Error("its content does not match the checksum in the manifest");
    } catch (error) {
      survey.damage({ file, logs: [`lake of ${stream}`], message: messageOf(error) });
    }
    survey.read(bytes);
  }
  return rows;
};
