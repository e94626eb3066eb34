/** headrace start: runs an application. */
import { type Command, Option } from "commander";
import { dataFolderDefault } from "../client/connection.ts";
import { type Display, jsonDisplay, linesDisplay, terminalDisplay } from "../display/display.ts";
import { onInterrupt } from "../node/interrupt.ts";
import { type RunOptions, runNode } from "../node/run-node.ts";
import { UsageError } from "../output/errors.ts";
import { type ListenerFlags, listenersOf, withListeners } from "./listeners.ts";
import { duration, examples, type Output, positiveNumber, wholeNumber } from "./options.ts";

/** Options of `start` and `dev`. */
export interface NodeOptions extends ListenerFlags {
  readonly data: string;
  readonly httpPort: number;
  readonly gateways?: number;
  readonly connections?: number;
  readonly linger?: number;
  readonly fleet?: string | true;
  readonly devices?: number;
  readonly rate?: number;
  readonly seed?: string;
}

interface StartOptions extends NodeOptions {
  readonly duration?: number;
  readonly json?: boolean;
}

const port = wholeNumber(0, 65_535);

/** Adds what `start` and `dev` have in common. */
export const withNode = (command: Command): Command =>
  withListeners(command)
    .argument("[app]", "application: a file, or a folder with app.ts", ".")
    .option("--data <folder>", "data folder, made if it does not exist", dataFolderDefault)
    .option("--http-port <port>", "port for the HTTP API; 0 takes a free one", port, 8080)
    .option("--gateways <n>", "gateway threads on the ports of MQTT", wholeNumber(1, 64))
    .option("--connections <n>", "most connections of each gateway thread", wholeNumber(1, 1_000_000))
    .option("--linger <ms>", "longest wait of a message for others, to share a sync at low rates", wholeNumber(0, 20))
    .option("--fleet [file]", "simulate devices; default: fleet.ts beside the application")
    .option("--devices <n>", "simulated devices, instead of what the fleet says", wholeNumber(1, 100_000))
    .option("--rate <n>", "messages per second of each simulated device", positiveNumber)
    .option("--seed <text>", "seed of the simulated devices");

/** The options of a run; what makes no sense together is refused. */
export function runOptionsOf(app: string, options: NodeOptions): Omit<RunOptions, "frames"> {
  const { data: dataFolder, fleet, ...rest } = options;
  for (const name of ["devices", "rate", "seed"] as const) {
    if (options[name] !== undefined && fleet === undefined) throw new UsageError(`--${name} needs --fleet`);
  }
  return { ...rest, app, dataFolder, ...listenersOf(options), ...(fleet !== undefined && { fleet }) };
}

function displayFor(json: boolean, { out, err }: Output): Display {
  if (json) return jsonDisplay(out, err);
  return process.stdout.isTTY ? terminalDisplay(out, () => process.stdout.columns) : linesDisplay(out);
}

export function addStart(program: Command, output: Output): void {
  withNode(program.command("start"))
    .summary("run an application")
    .description(
      "Runs an application: MQTT gateway, log, functions, tables and HTTP API in this process. Ctrl-C drains and stops.",
    )
    .addOption(
      new Option("--duration <duration>", "stop by itself and print a summary object as last line").argParser(duration),
    )
    .option("--json", "print one JSON object a second")
    .addHelpText(
      "after",
      examples(
        "headrace start",
        "headrace start examples/factory --fleet",
        "headrace start --fleet --devices 1000 --rate 5 --duration 30s --json",
        "headrace start --host 0.0.0.0 --data /var/lib/headrace",
        "headrace start --mqtts-port 0.0.0.0:8883 --tls-cert node.pem --tls-key node.key",
      ),
    )
    .action(async (app: string, { json = false, duration: durationMs, ...options }: StartOptions) => {
      const run = { ...runOptionsOf(app, options), ...(durationMs !== undefined && { durationMs }), frames: true };
      const display = displayFor(json, output);
      using interrupt = onInterrupt((text) => display.note(text));
      const { startNode } = await import("@headrace/server");
      const summary = await runNode(run, { startNode, display, interrupted: interrupt.signal });
      if (summary) output.out(`${JSON.stringify(summary)}\n`);
      else if (!json) output.out("stopped\n");
    });
}
