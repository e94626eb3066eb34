/** headrace dead-letters: events whose handler failed. */
import type { Command } from "commander";
import type { ConnectionOptions } from "../client/connection.ts";
import { table } from "../output/table.ts";
import { oneLine, safe } from "../output/text.ts";
import { clientOf, examples, type Output, wholeNumber, withConnection } from "./options.ts";

interface Letter {
  readonly id: string;
  readonly timeMs: number;
  readonly device: string;
  readonly function?: string;
  readonly stream?: string;
  readonly topic?: string;
  readonly attempts?: number;
  readonly payload?: string;
  readonly encoding?: string;
  readonly stateBefore?: unknown;
  readonly error?: { readonly name?: string; readonly message?: string; readonly stack?: string };
}

type Options = ConnectionOptions & { readonly json?: boolean };

const pathOf = (id: string): string => `/v1/dead-letters/${encodeURIComponent(id)}`;
const lines = (text: string): string =>
  text
    .split("\n")
    .map((line) => `  ${safe(line)}`)
    .join("\n");

function letterText(letter: Letter): string {
  const { id, timeMs, device, error, payload = "", encoding, stateBefore } = letter;
  return [
    `${id}  ${new Date(timeMs).toISOString()}  ${oneLine(letter.function)} on ${oneLine(letter.stream)}  device ${oneLine(device)}`,
    lines(error?.stack ?? `${error?.name}: ${error?.message}`),
    `payload${encoding === "base64" ? " (base64)" : ""}:`,
    lines(payload),
    "state before:",
    lines(stateBefore === undefined ? "none" : JSON.stringify(stateBefore, undefined, 2)),
    "",
  ].join("\n");
}

export function addDeadLetters(program: Command, { out }: Output): void {
  const group = program
    .command("dead-letters")
    .summary("list, show and redrive failed events")
    .description(
      "Events whose handler failed after all attempts; the events of other keys, and later ones of the same key, went on.",
    )
    .addHelpText(
      "after",
      examples(
        "headrace dead-letters list",
        "headrace dead-letters show 0.1.17",
        "headrace dead-letters redrive 0.1.17",
      ),
    );

  withConnection(group.command("list"))
    .description("Lists dead letters, newest first.")
    .option("--limit <n>", "at most", wholeNumber(1, 200), 50)
    .option("--json", "print one JSON object")
    .addHelpText("after", examples("headrace dead-letters list --limit 10"))
    .action(async (options: Options & { limit: number }) => {
      const list = await clientOf(options).get<{ deadLetters: Letter[] }>(`/v1/dead-letters?limit=${options.limit}`);
      if (options.json) return out(`${JSON.stringify(list)}\n`);
      if (list.deadLetters.length === 0) return out("no dead letters\n");
      const rows = list.deadLetters.map(({ id, timeMs, device, error, ...letter }) => [
        id,
        new Date(timeMs).toISOString(),
        letter.function,
        letter.stream,
        device,
        `${error?.name}: ${error?.message}`,
      ]);
      out(`${table(["id", "time", "function", "stream", "device", "error"], rows)}\n`);
    });

  withConnection(group.command("show"))
    .description("Shows one dead letter: payload, stack, and the state before it.")
    .argument("<id>", "as listed")
    .option("--json", "print one JSON object")
    .addHelpText("after", examples("headrace dead-letters show 0.1.17 --json"))
    .action(async (id: string, options: Options) => {
      const letter = await clientOf(options).get<Letter>(pathOf(id));
      out(options.json ? `${JSON.stringify(letter)}\n` : letterText(letter));
    });

  withConnection(group.command("redrive"))
    .description("Puts the event back into its stream, behind everything that came since: its key's order is not kept.")
    .argument("<id>", "as listed")
    .option("--json", "print one JSON object")
    .addHelpText("after", examples("headrace dead-letters redrive 0.1.17"))
    .action(async (id: string, options: Options) => {
      const answer = await clientOf(options).post<{ stored: number }>(`${pathOf(id)}/redrive`);
      out(options.json ? `${JSON.stringify(answer)}\n` : `${id} is in its stream again\n`);
    });
}
