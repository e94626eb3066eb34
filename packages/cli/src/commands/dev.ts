/** headrace dev: runs an application and reloads it when its files change. */
import { existsSync, type FSWatcher, statSync, watch } from "node:fs";
import { dirname, resolve, sep } from "node:path";
import type { HeadraceNode } from "@headrace/server";
import type { Command } from "commander";
import { linesDisplay } from "../display/display.ts";
import { onInterrupt } from "../node/interrupt.ts";
import { runNode } from "../node/run-node.ts";
import { reportError } from "../output/errors.ts";
import { milliseconds } from "../output/text.ts";
import { examples, type Output } from "./options.ts";
import { type NodeOptions, runOptionsOf, withNode } from "./start.ts";

/** Editors write a file in several steps. */
const settleMs = 50;

/** True for files that an application is made of. */
export function isSource(path: string): boolean {
  const parts = path.split(/[\\/]/);
  return (
    /\.([cm]?[jt]s|json)$/.test(path) &&
    !/\.test\.[cm]?[jt]s$/.test(path) &&
    parts.every((part) => part !== "node_modules" && !part.startsWith("."))
  );
}

/** Watches an application's files. */
export interface SourceWatch extends Disposable {
  /** Watches the folders of these files as well, and no others but the application's. */
  follow(files: readonly string[]): void;
}

/**
 * Calls `changed` with the file after each burst of changes, one call at a time. Folders are watched, not files and not whole
 * trees: an editor that replaces a file makes a new one, which a watch on the old file (and Node's recursive watch) would not see.
 */
export function watchSources(app: string, changed: (file: string) => Promise<void>): SourceWatch {
  const folder = resolve(statSync(app).isDirectory() ? app : dirname(app));
  const watchers = new Map<string, FSWatcher>();
  let timer: NodeJS.Timeout | undefined;
  let turn: Promise<void> = Promise.resolve();

  const notice = (file: string | null): void => {
    if (file === null || !isSource(file)) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      turn = turn.then(() => changed(file));
    }, settleMs);
  };
  const follow = (files: readonly string[]): void => {
    const wanted = new Set([folder, ...files.map((file) => dirname(resolve(file)))]);
    for (const [path, watcher] of watchers) {
      if (wanted.has(path)) continue;
      watcher.close();
      watchers.delete(path);
    }
    for (const path of wanted) {
      if (watchers.has(path) || path.includes(`${sep}node_modules${sep}`) || !existsSync(path)) continue;
      watchers.set(
        path,
        watch(path, (_event, file) => notice(file)),
      );
    }
  };
  follow([]);
  return {
    follow,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
    },
  };
}

export function addDev(program: Command, output: Output): void {
  withNode(program.command("dev"))
    .summary("run an application and reload it on change")
    .description(
      "Runs an application as start does, and loads it again when one of its files changes. State, log and connections stay.",
    )
    .addHelpText(
      "after",
      examples("headrace dev", "headrace dev src/app.ts --mqtt-port 1884", "headrace dev --fleet --devices 10"),
    )
    .action(async (app: string, options: NodeOptions) => {
      const display = linesDisplay(output.out);
      using interrupt = onInterrupt((text) => display.note(text));
      const { startNode } = await import("@headrace/server");
      let sources: SourceWatch | undefined;
      const reload = async (node: HeadraceNode, file: string): Promise<void> => {
        const startMs = performance.now();
        try {
          await node.reload();
          display.note(`reloaded in ${milliseconds(performance.now() - startMs)} (${file})`);
        } catch (error) {
          reportError(error, false, output.err);
          display.note("the application before this change goes on");
        }
        sources?.follow(node.files);
      };
      const onStarted = (node: HeadraceNode): void => {
        sources = watchSources(app, (file) => reload(node, file));
        sources.follow(node.files);
        display.note("waiting for changes; Ctrl-C stops");
      };
      try {
        const run = { ...runOptionsOf(app, options), frames: false };
        await runNode(run, { startNode, display, interrupted: interrupt.signal, onStarted });
        display.note("stopped");
      } finally {
        sources?.[Symbol.dispose]();
      }
    });
}
