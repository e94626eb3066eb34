/** headrace doctor: is this machine good for a node? */
import { type Diagnosis, examine } from "@headrace/server";
import type { Command } from "commander";
import { dataFolderDefault } from "../client/connection.ts";
import { ExitWith, exitCodes } from "../output/errors.ts";
import { oneLine } from "../output/text.ts";
import { type TlsOptions, tlsFilesOf, withTls } from "./listeners.ts";
import { examples, type Output, wholeNumber } from "./options.ts";

const marks: Record<Diagnosis["result"], string> = { good: "ok", warning: "warning", bad: "BAD", unknown: "?" };

interface Options extends TlsOptions {
  readonly data: string;
  readonly host: string;
  readonly mqttPort: number;
  readonly httpPort: number;
  readonly tlsName?: readonly string[];
  readonly json?: boolean;
}

export function addDoctor(program: Command, { out }: Output): void {
  const port = wholeNumber(1, 65_535);
  withTls(program.command("doctor"))
    .option(
      "--tls-name <name>",
      "a host name or address that devices call; repeatable",
      (name, before: readonly string[] = []) => [...before, name],
    )
    .summary("look at disk, clock, ports, limits and certificates of this machine")
    .description(
      "Measures how long a durable write takes and whether the disk can be telling the truth, and looks at folder, space, limits, clock, ports, and the files of TLS if they are named. Exit code 1 when something is bad.",
    )
    .option("--data <folder>", "data folder", dataFolderDefault)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--mqtt-port <port>", "port for MQTT", port, 1883)
    .option("--http-port <port>", "port for the HTTP API", port, 8080)
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      examples(
        "headrace doctor",
        "headrace doctor --data /var/lib/headrace --json",
        "headrace doctor --tls-cert node.pem --tls-key node.key --tls-name broker.example",
      ),
    )
    .action(async ({ data, host, mqttPort, httpPort, tlsName = [], json = false, ...options }: Options) => {
      const files = tlsFilesOf(options);
      const found = await examine({
        dataFolder: data,
        host,
        ports: [mqttPort, httpPort],
        ...(files && { tls: { files, names: tlsName } }),
      });
      const isBad = found.some(({ result }) => result === "bad");
      if (json) out(`${JSON.stringify({ good: !isBad, found })}\n`);
      else {
        const width = Math.max(...found.map(({ subject }) => subject.length));
        for (const { subject, result, found: what, action } of found) {
          out(`${marks[result].padEnd(8)}${subject.padEnd(width)}  ${oneLine(what)}\n`);
          if (action) out(`${" ".repeat(10 + width)}${oneLine(action)}\n`);
        }
      }
      if (isBad) throw new ExitWith(exitCodes.failure);
    });
}
