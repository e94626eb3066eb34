/** headrace init: a project that runs. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { HeadraceError } from "@headrace/sdk";
import type { Command } from "commander";
import { version } from "../version.ts";
import { examples, type Output } from "./options.ts";

const templates = new URL("../templates/", import.meta.url);
const suffix = ".template";

/** A package name from whatever the folder is called. */
const packageName = (folder: string): string =>
  basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "") || "devices";

/**
 * Writes the project's files; none that exists is touched.
 *
 * @returns names of the files written and of those that existed
 */
export function scaffold(folder: string): { written: string[]; kept: string[] } {
  const written: string[] = [];
  const kept: string[] = [];
  try {
    mkdirSync(folder, { recursive: true });
    for (const file of readdirSync(templates)
      .filter((name) => name.endsWith(suffix))
      .sort()) {
      // npm leaves out files called .gitignore when it packs.
      const name = file.slice(0, -suffix.length).replace(/^dot-/, ".");
      const path = join(folder, name);
      if (existsSync(path)) {
        kept.push(name);
        continue;
      }
      const text = readFileSync(new URL(file, templates), "utf8");
      writeFileSync(path, text.replaceAll("{{name}}", packageName(folder)).replaceAll("{{version}}", version), {
        flag: "wx",
      });
      written.push(name);
    }
  } catch (error) {
    throw new HeadraceError("HR_FOLDER_UNUSABLE", `the folder ${folder}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return { written, kept };
}

export function addInit(program: Command, { out }: Output): void {
  program
    .command("init")
    .summary("make a project that runs")
    .description(
      "Writes package.json, app.ts, app.test.ts, tsconfig.json, README.md and .gitignore. Files that exist stay as they are.",
    )
    .argument("[folder]", "made if it does not exist", ".")
    .option("--json", "print what was written as JSON")
    .addHelpText("after", examples("headrace init pumps", "cd pumps && npm install && npx headrace dev"))
    .action((given: string, { json }: { json?: boolean }) => {
      const folder = resolve(given);
      const { written, kept } = scaffold(folder);
      if (json) return out(`${JSON.stringify({ folder, written, kept })}\n`);
      for (const name of written) out(`  wrote  ${name}\n`);
      for (const name of kept) out(`  kept   ${name} (it exists)\n`);
      const enter = given === "." ? "" : `cd ${given} && `;
      out(`\nNext:\n  ${enter}npm install && npx headrace dev\n`);
    });
}
