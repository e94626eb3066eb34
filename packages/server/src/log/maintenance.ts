/** The steps behind the log: preparing segments, rewriting sealed ones into history, deleting what is no longer needed. Never on the message path. */
import { join } from "node:path";
import type { Files } from "@headrace/engine";
import { appendManifest } from "./history-manifest.ts";
import { type HistorySummary, summaryOf } from "./history-summary.ts";
import { type RewriteRequest, rewriteSegment } from "./rewrite.ts";
import { prepareSegment, segmentFile } from "./segment.ts";

/** Where the steps run: in a thread of their own, or, in the simulation, between two turns of the one that there is. One at a time, in order. */
export interface Maintenance {
  prepare(walFolder: string, segment: number, segmentBytes: number): Promise<void>;
  /** Writes the history files of a sealed segment and lists them. */
  rewrite(request: RewriteRequest): Promise<HistorySummary[]>;
  removeSegment(walFolder: string, segment: number): Promise<void>;
  dropHistory(historyFolder: string, paths: readonly string[]): Promise<void>;
  /** Lets the step that is running end. */
  close(): Promise<void>;
}

type Step = Exclude<keyof Maintenance, "close">;
/** What each step does, at once. */
export type MaintenanceSteps = {
  [Name in Step]: (...args: Parameters<Maintenance[Name]>) => Awaited<ReturnType<Maintenance[Name]>>;
};

export const maintenanceSteps = (files: Files): MaintenanceSteps => ({
  prepare: (walFolder, segment, segmentBytes) => prepareSegment(walFolder, segment, segmentBytes, files),
  rewrite: (request) => {
    const { files: written, ends } = rewriteSegment(request, files);
    appendManifest(
      request.historyFolder,
      {
        segment: request.segment,
        files: written.map(({ logId, path, byteLength }) => ({ logId, path, byteLength })),
        ends,
      },
      files,
    );
    // Not the entries: the message path must not take as many objects as a file has blocks.
    return written.map(({ path, logId, entries }) => summaryOf(path, logId, entries));
  },
  removeSegment: (walFolder, segment) => files.remove(segmentFile(walFolder, segment)),
  dropHistory: (historyFolder, paths) => {
    appendManifest(historyFolder, { dropped: paths }, files);
    for (const path of paths) if (files.exists(join(historyFolder, path))) files.remove(join(historyFolder, path));
  },
});
