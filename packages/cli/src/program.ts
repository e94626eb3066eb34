/** The commands, their help, and how a run ends. */
import { Command } from "commander";
import { addBackup } from "./commands/backup.ts";
import { addClients } from "./commands/clients.ts";
import { addDeadLetters } from "./commands/dead-letters.ts";
import { addDev } from "./commands/dev.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addInit } from "./commands/init.ts";
import { addLog } from "./commands/log.ts";
import { examples, type Output } from "./commands/options.ts";
import { addPub } from "./commands/pub.ts";
import { addQuery } from "./commands/query.ts";
import { addSend } from "./commands/send.ts";
import { addStart } from "./commands/start.ts";
import { addStatus } from "./commands/status.ts";
import { addSub } from "./commands/sub.ts";
import { addTail } from "./commands/tail.ts";
import { reportError } from "./output/errors.ts";
import { version } from "./version.ts";

const standard: Output = { out: (text) => process.stdout.write(text), err: (text) => process.stderr.write(text) };

function buildProgram(output: Output, asJson: boolean): Command {
  const program = new Command("headrace")
    .description("Serverless functions for device data.")
    .version(version, "--version", "print the version")
    .exitOverride()
    .configureOutput({
      writeOut: output.out,
      writeErr: output.err,
      outputError: (text, write) => {
        if (!asJson) write(text.replace(/^error: /, "headrace: "));
      },
    })
    .addHelpText(
      "after",
      examples(
        "headrace init pumps",
        "headrace dev",
        "headrace start --fleet",
        `headrace query "select * from alerts"`,
      ) +
        "\nClient commands find the node by --url and --token, by HEADRACE_URL and HEADRACE_TOKEN, or by --data (.headrace).\n" +
        "Exit codes: 0 success, 1 failure, 2 wrong usage.\n",
    );
  for (const add of [
    addInit,
    addDev,
    addStart,
    addSend,
    addPub,
    addSub,
    addTail,
    addQuery,
    addStatus,
    addDeadLetters,
    addClients,
    addLog,
    addBackup,
    addDoctor,
  ])
    add(program, output);
  return program;
}

/** Runs the command line; the result is the exit code. */
export async function run(args: readonly string[], output: Output = standard): Promise<number> {
  const asJson = args.includes("--json");
  // `headrace tail | head` ends when head does.
  const onPipe = (error: NodeJS.ErrnoException): void => {
    if (error.code === "EPIPE") process.exit(0);
  };
  process.stdout.on("error", onPipe);
  try {
    await buildProgram(output, asJson).parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    return reportError(error, asJson, output.err);
  } finally {
    process.stdout.off("error", onPipe);
  }
}
