/** headrace dev: runs an application and reloads it when its files change. */
import { type FSWatcher, statSync, watch } from "node:fs";
import { dirname, relative, resolve } from "node:path";
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

/** Calls `changed` with the file after each burst of changes in the application's folder, one call at a time. */
export function watchSources(app: string, dataFolder: string, changed: (file: string) => Promise<void>): FSWatcher {
  const folder = statSync(app).isDirectory() ? app : dirname(app);
  const data = relative(resolve(folder), resolve(dataFolder));
  let timer: NodeJS.Timeout | undefined;
  let turn: Promise<void> = Promise.resolve();
  return watch(folder, { recursive: true }, (_event, file) => {
    if (file === null || !isSource(file) || (data !== "" && file.startsWith(data))) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      turn = turn.then(() => changed(file));
    }, settleMs);
  });
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
      let watcher: FSWatcher | undefined;
      const reload = async (node: HeadraceNode, file: string): Promise<void> => {
        const startMs = performance.now();
        try {
          await node.reload();
          display.note(`reloaded in ${milliseconds(performance.now() - startMs)} (${file})`);
        } catch (error) {
          reportError(error, false, output.err);
          display.note("the application before this change goes on");
        }
      };
      const onStarted = (node: HeadraceNode): void => {
        watcher = watchSources(app, options.data, (file) => reload(node, file));
        display.note("waiting for changes; Ctrl-C stops");
      };
      try {
        const run = { ...runOptionsOf(app, options), frames: false };
        await runNode(run, { startNode, display, interrupted: interrupt.signal, onStarted });
        display.note("stopped");
      } finally {
        watcher?.close();
      }
    });
}
