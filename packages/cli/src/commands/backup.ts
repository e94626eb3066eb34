/** headrace backup and restore. */
import { backupDataFolder, restoreDataFolder } from "@headrace/server";
import type { Command } from "commander";
import { dataFolderDefault } from "../client/connection.ts";
import { progressBar } from "../output/progress.ts";
import { grouped } from "../output/text.ts";
import { examples, type Output } from "./options.ts";

export function addBackup(program: Command, { out }: Output): void {
  program
    .command("backup")
    .summary("copy a data folder, also while its node runs")
    .description(
      "Copies log, snapshots and lake into a folder. Everything acknowledged before the call is in it. The copy is read and checked before it gets its name.",
    )
    .argument("<target>", "folder that is empty or does not exist")
    .option("--data <folder>", "data folder", dataFolderDefault)
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      examples("headrace backup /backups/2026-11-24", "headrace backup /mnt/nas/pumps --data /var/lib/headrace"),
    )
    .action((target: string, { data, json = false }: { data: string; json?: boolean }) => {
      const bar = progressBar("copied and checked", "bytes", { quiet: json });
      try {
        const survey = backupDataFolder(data, target, (done, total) => bar.update(done, total));
        bar.end();
        out(
          json
            ? `${JSON.stringify(survey)}\n`
            : `backup in ${survey.folder}: ${grouped(survey.records)} records of ${grouped(survey.logs)} logs, ${grouped(survey.lakeRows)} lake rows, checked\n`,
        );
      } finally {
        bar.end();
      }
    });

  program
    .command("restore")
    .summary("make a data folder from a backup")
    .description(
      "Copies a backup into a data folder that is empty or does not exist, and checks it as a whole. Then start the node on it.",
    )
    .argument("<backup>", "folder that headrace backup has made")
    .requiredOption("--data <folder>", "data folder to make")
    .option("--json", "print one JSON object")
    .addHelpText("after", examples("headrace restore /backups/2026-11-24 --data /var/lib/headrace"))
    .action((backup: string, { data, json = false }: { data: string; json?: boolean }) => {
      const bar = progressBar("restored and checked", "bytes", { quiet: json });
      try {
        const survey = restoreDataFolder(backup, data, (done, total) => bar.update(done, total));
        bar.end();
        out(
          json
            ? `${JSON.stringify(survey)}\n`
            : `${survey.folder} holds the backup of ${new Date(survey.backup.createdAtMs).toISOString()}: ${grouped(survey.records)} records of ${grouped(survey.logs)} logs, ${grouped(survey.lakeRows)} lake rows, checked\n`,
        );
      } finally {
        bar.end();
      }
    });
}
