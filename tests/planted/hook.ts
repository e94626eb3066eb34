/**
 * Plants one bug in a process: `node --import <URL of this file>?bug=<name> …` (see `plantedArgs`). Worker threads inherit `--import`, with it
 * the bug, whatever their environment is.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { plant, plantedBug } from "./bugs.ts";

const name = new URL(import.meta.url).searchParams.get("bug");
if (name === null) throw new Error("which bug? Use ?bug=<name>");
const bug = plantedBug(name);
const target = new URL(`../../${bug.file}`, import.meta.url);
// Fails at once, also where the file is never loaded.
plant(bug, readFileSync(target, "utf8"));

registerHooks({
  load: (url, context, nextLoad) => {
    const loaded = nextLoad(url, context);
    if (url !== target.href) return loaded;
    return { ...loaded, source: plant(bug, new TextDecoder().decode(loaded.source as Uint8Array)) };
  },
});
