/** The thread behind the log: prepares segments, rewrites sealed ones into history, deletes what is no longer needed. Never on the message path. */
import { rmSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { parentPort } from "node:worker_threads";
import { openRpc, yieldToMessagePath } from "../threads/index.ts";
import { appendManifest } from "./history-manifest.ts";
import { summaryOf } from "./history-summary.ts";
import { type RewriteRequest, rewriteSegment } from "./rewrite.ts";
import { prepareSegment, segmentFile } from "./segment.ts";

if (!parentPort) throw new Error("this file runs as a worker thread");

yieldToMessagePath();
openRpc(parentPort, {
  prepare: (folder: string, number: number, segmentBytes: number) => prepareSegment(folder, number, segmentBytes),
  rewrite: (request: RewriteRequest) => {
    const { files, ends } = rewriteSegment(request);
    appendManifest(request.historyFolder, {
      segment: request.segment,
      files: files.map(({ logId, path, byteLength }) => ({ logId, path, byteLength })),
      ends,
    });
    // Not the entries: the message path must not take as many objects as a file has blocks.
    return files.map(({ path, logId, entries }) => summaryOf(path, logId, entries));
  },
  removeSegment: (walFolder: string, segment: number) => unlinkSync(segmentFile(walFolder, segment)),
  dropHistory: (historyFolder: string, paths: string[]) => {
    appendManifest(historyFolder, { dropped: paths });
    for (const path of paths) rmSync(join(historyFolder, path), { force: true });
  },
});
