/** headrace log: looks after what is stored, while no node uses it. */
import { type DataSurvey, repairDataFolder, verifyDataFolder } from "@headrace/server";
import type { Command } from "commander";
import { dataFolderDefault } from "../client/connection.ts";
import { ExitWith, exitCodes } from "../output/errors.ts";
import { progressBar } from "../output/progress.ts";
import { grouped, oneLine } from "../output/text.ts";
import { examples, type Output } from "./options.ts";

/** The survey for people. */
export function surveyText(survey: DataSurvey): string {
  const { findings, tornTail } = survey;
  const damage = findings.filter(({ kind }) => kind === "damage");
  const lines = findings.map(({ kind, file, offset, logs, message }) => {
    const place = offset === undefined ? file : `${file}, byte ${offset}`;
    const touched = logs.length > 0 ? ` (${logs.join(", ")})` : "";
    return `${kind}: ${oneLine(place)}: ${oneLine(message)}${oneLine(touched)}`;
  });
  if (tornTail)
    lines.push(
      `note: ${oneLine(tornTail.file)}, byte ${tornTail.offset}: a group that was being written when the node stopped; nothing of it was acknowledged, the next start cuts it`,
    );
  for (const { log, fromSequence, toSequence, timeMs, reason } of survey.gaps)
    lines.push(
      `note: ${oneLine(log)}: records ${fromSequence} to ${toSequence - 1} are lost, accepted ${new Date(timeMs).toISOString()}: ${oneLine(reason)}`,
    );
  lines.push(
    `${grouped(survey.blocks)} blocks with ${grouped(survey.records)} records of ${grouped(survey.logs)} logs in ${grouped(survey.files)} files, ${grouped(survey.bytes)} bytes; ${grouped(survey.snapshotFiles)} snapshots; ${grouped(survey.lakeRows)} rows in ${grouped(survey.lakeFiles)} lake files`,
    damage.length === 0
      ? "sound: every checksum, number and position is right"
      : `damaged in ${damage.length === 1 ? "one place" : `${damage.length} places`}: restore a backup, or go on without what is lost: headrace log repair`,
  );
  return `${lines.join("\n")}\n`;
}

export function addLog(program: Command, { out }: Output): void {
  const group = program
    .command("log")
    .summary("look after what is stored")
    .description("Works on the data folder of a node that does not run.");
  group
    .command("verify")
    .summary("read and check everything that is stored")
    .description(
      "Reads every file of a data folder, snapshots, log and lake, and checks checksums, numbers, positions, and that snapshots fit their journals. It changes nothing. Exit code 1 when something is damaged.",
    )
    .option("--data <folder>", "data folder", dataFolderDefault)
    .option("--json", "print one JSON object")
    .addHelpText("after", examples("headrace log verify", "headrace log verify --data /var/lib/headrace --json"))
    .action(({ data, json = false }: { data: string; json?: boolean }) => {
      const bar = progressBar("verified", "bytes", { quiet: json });
      let survey: DataSurvey;
      try {
        survey = verifyDataFolder(data, (done, total) => bar.update(done, total));
      } finally {
        bar.end();
      }
      out(json ? `${JSON.stringify(survey)}\n` : surveyText(survey));
      if (!survey.sound) throw new ExitWith(exitCodes.failure);
    });

  group
    .command("repair")
    .summary("go on without what is damaged")
    .description(
      "Salvages what is sound, moves damaged files to the folder `damaged` and records what is lost. Without --accept-gap it only says what is damaged. Restore a backup instead when there is one.",
    )
    .option("--data <folder>", "data folder", dataFolderDefault)
    .option("--accept-gap", "agree that what cannot be read is lost")
    .option("--json", "print one JSON object")
    .addHelpText("after", examples("headrace log repair", "headrace log repair --accept-gap --data /var/lib/headrace"))
    .action(({ data, json = false, acceptGap = false }: { data: string; json?: boolean; acceptGap?: boolean }) => {
      const before = verifyDataFolder(data);
      if (before.sound || !acceptGap) {
        const hint = before.sound
          ? "nothing to repair"
          : "run it again with --accept-gap to go on without what is lost";
        out(json ? `${JSON.stringify({ ...before, repaired: false })}\n` : `${surveyText(before)}${hint}\n`);
        if (!before.sound) throw new ExitWith(exitCodes.failure);
        return;
      }
      const { gaps, moved } = repairDataFolder(data);
      const after = verifyDataFolder(data);
      if (json) out(`${JSON.stringify({ ...after, repaired: true, accepted: gaps, moved })}\n`);
      else out(`${moved.map((file) => `moved: ${oneLine(file)}\n`).join("")}${surveyText(after)}`);
      if (!after.sound) throw new ExitWith(exitCodes.failure);
    });
}
