/** headrace send: one event or a batch into a stream or on a topic. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { ConnectionOptions } from "../client/connection.ts";
import { UsageError } from "../output/errors.ts";
import { clientOf, examples, type Output, withConnection } from "./options.ts";

interface Options extends ConnectionOptions {
  readonly device?: string;
  readonly topic?: boolean;
  readonly key?: string;
  readonly json?: boolean;
}

function checkJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new UsageError(
      `the event is not JSON: ${(error as Error).message}\n  Quote it for the shell: headrace send readings '{"temperature": 61}'`,
    );
  }
}

export function addSend(program: Command, { out }: Output): void {
  withConnection(program.command("send"))
    .summary("send an event to a stream or topic")
    .description(
      "Sends an event and waits until it is durable. A JSON array is one event per element; - reads standard input.",
    )
    .argument("<stream|topic>", "stream, or topic of an http() source when it contains a slash")
    .argument("<json>", "the event")
    .option("--device <id>", "device that the event is from")
    .option("--topic", "take the first argument for a topic although it has no slash")
    .option("--key <key>", "idempotency key: a second send with it stores nothing")
    .option("--json", "print the answer as JSON")
    .addHelpText(
      "after",
      examples(
        `headrace send readings '{"temperature": 61}' --device p1`,
        `headrace send meters/m1 '[{"kWh": 1.2}, {"kWh": 1.3}]'`,
        "headrace send readings - < batch.json",
      ),
    )
    .action(async (target: string, json: string, options: Options) => {
      const text = json === "-" ? readFileSync(0, "utf8") : json;
      checkJson(text);
      const query = new URLSearchParams({ [options.topic || target.includes("/") ? "topic" : "stream"]: target });
      if (options.device !== undefined) query.set("device", options.device);
      const response = await clientOf(options).fetch(`/v1/events?${query}`, {
        method: "POST",
        body: text,
        headers: {
          "content-type": "application/json",
          ...(options.key !== undefined && { "idempotency-key": options.key }),
        },
      });
      const answer = (await response.json()) as { stored: number; repeated: boolean };
      const events = `${answer.stored} ${answer.stored === 1 ? "event" : "events"}`;
      out(
        options.json
          ? `${JSON.stringify(answer)}\n`
          : answer.repeated
            ? "a repeat: nothing stored\n"
            : `stored ${events}\n`,
      );
    });
}
