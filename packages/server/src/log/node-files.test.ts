/** Goal: the machine's files do what the port says, as the simulated disk does. Method: the suite of the port. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { filesConformance } from "@headrace/testkit/simulation";
import { afterEach, expect, test } from "vitest";
import { nodeFiles } from "./node-files.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

filesConformance({ test, equal: (actual, expected) => expect(actual).toEqual(expected) }, () => {
  const folder = mkdtempSync(join(tmpdir(), "headrace-files-"));
  folders.push(folder);
  return { files: nodeFiles, folder };
});
