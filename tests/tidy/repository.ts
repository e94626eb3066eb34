/** What the rules look at: the files of the repository, as text. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const repositoryRoot = fileURLToPath(new URL("../../", import.meta.url));

/** A file under test; `path` is relative to the root of the repository, with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

const ignoredFolders = new Set(["node_modules", "dist", "build", ".git", ".headrace", "coverage"]);

/** All files below `folder` whose path the filter accepts; an absent folder has none. */
export function filesBelow(folder: string, accepts: (path: string) => boolean): SourceFile[] {
  return pathsBelow(folder)
    .filter(accepts)
    .map((path) => ({ path, text: readFileSync(join(repositoryRoot, path), "utf8") }));
}

function pathsBelow(folder: string): string[] {
  let entries: import("node:fs").Dirent[];
  try {
    entries = readdirSync(join(repositoryRoot, folder), { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return ignoredFolders.has(entry.name) ? [] : pathsBelow(path);
    return entry.isFile() ? [path] : [];
  });
}

/** The sources that are shipped: TypeScript below packages/<name>/src, without tests. */
export function shippedSources(): SourceFile[] {
  return filesBelow("packages", (path) => /^packages\/[^/]+\/src\/.*\.ts$/.test(path) && !path.endsWith(".test.ts"));
}

/** The text of one file, or null when there is none. */
export function textOf(path: string): string | null {
  try {
    return readFileSync(join(repositoryRoot, path), "utf8");
  } catch {
    return null;
  }
}
