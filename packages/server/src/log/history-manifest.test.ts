/**
 * Goal (S5, S6, P6): a step of the history manifest that finds no room changes nothing, and takes effect when it is tried again.
 * Method: a process whose files may have 4 KiB only appends until a line is written in part and refused; here the limit is gone and it goes on.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { appendManifest, type ManifestEntry, manifestFile, readManifest } from "./history-manifest.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headrace-manifest-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const limitBytes = 4096;
const step = (segment: number): ManifestEntry => ({
  segment,
  files: [{ logId: 1, path: `1/${segment}.hist`, byteLength: 10 }],
  ends: [[1, 1, 1, segment]],
});

const untilRefused = `
  const { appendManifest } = await import(process.env.MODULE);
  const step = ${step.toString()};
  for (let segment = 1; ; segment++) {
    try {
      appendManifest(process.env.FOLDER, step(segment));
    } catch (error) {
      console.log(JSON.stringify({ segment, code: error.code }));
      break;
    }
  }`;

test("S5: a line that was written in part is cut off, so that the same step can be tried again", () => {
  const child = spawnSync(
    "/bin/sh",
    [
      "-c",
      // Blocks of 512 bytes, as POSIX has it; bash counts in 1,024.
      `ulimit -f $(if [ -n "$BASH_VERSION" ]; then echo ${limitBytes / 1024}; else echo ${limitBytes / 512}; fi); exec "$0" "$@"`,
      process.execPath,
      "--conditions=headrace-source",
      "--input-type=module",
      "--eval",
      untilRefused,
    ],
    {
      encoding: "utf8",
      env: { ...process.env, MODULE: new URL("./history-manifest.ts", import.meta.url).href, FOLDER: folder },
      timeout: 60_000,
    },
  );
  expect(child.stderr).toBe("");
  const refused = JSON.parse(child.stdout) as { segment: number; code: string };
  expect(refused.code).toBe("EFBIG");
  const before = refused.segment - 1;
  expect(before).toBeGreaterThan(10);
  // The limit lies inside a line, or the write was not cut short and this proves nothing.
  const wholeBytes = statSync(manifestFile(folder)).size;
  expect(wholeBytes).toBeLessThan(limitBytes);
  expect(readFileSync(manifestFile(folder), "utf8").endsWith("\n")).toBe(true);
  expect(readManifest(folder).lastSegment).toBe(before);
  expect(readManifest(folder).tornAt).toBeUndefined();

  appendManifest(folder, step(refused.segment));
  appendManifest(folder, step(refused.segment + 1));
  const manifest = readManifest(folder);
  expect(manifest.lastSegment).toBe(refused.segment + 1);
  expect(manifest.tornAt).toBeUndefined();
  expect(manifest.files.has(`1/${refused.segment}.hist`)).toBe(true);
});
