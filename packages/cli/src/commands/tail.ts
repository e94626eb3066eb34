/** headrace tail: a stream's events as they are stored. */
import { HeadraceError } from "@headrace/sdk";
import type { Command } from "commander";
import type { ConnectionOptions } from "../client/connection.ts";
import { serverSentEvents } from "../client/server-sent-events.ts";
import { oneLine, safe } from "../output/text.ts";
import { clientOf, examples, type Output, wholeNumber, withConnection } from "./options.ts";

interface Options extends ConnectionOptions {
  readonly from: string;
  readonly limit?: number;
  readonly json?: boolean;
}

interface TailEvent {
  readonly timeMs: number;
  readonly device: string;
  readonly value?: unknown;
  readonly payload?: string;
}

function line(data: string): string {
  const { timeMs, device, value, payload } = JSON.parse(data) as TailEvent;
  const content = payload === undefined ? safe(JSON.stringify(value)) : `${payload} (base64)`;
  return `${new Date(timeMs).toISOString()}  ${oneLine(device)}  ${content}\n`;
}

export function addTail(program: Command, { out, err }: Output): void {
  withConnection(program.command("tail"))
    .summary("follow a stream")
    .description("Prints the events of a stream as they become durable, until Ctrl-C or the limit.")
    .argument("<stream>", "stream, table, or one of: rejected, dead-letters, alerts, commands, connections, mqtt")
    .option("--from <place>", "now, or start: everything that is kept", "now")
    .option("--limit <events>", "end after that many", wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option("--json", "one JSON object per event")
    .addHelpText("after", examples("headrace tail readings", "headrace tail alerts --from start --limit 10 --json"))
    .action(async (stream: string, { from, limit, json, ...connection }: Options) => {
      const query = new URLSearchParams({ from });
      if (limit !== undefined) query.set("limit", String(limit));
      const interrupted = new AbortController();
      const stop = (): void => interrupted.abort();
      process.once("SIGINT", stop);
      try {
        const path = `/v1/tail/${encodeURIComponent(stream)}?${query}`;
        const { body } = await clientOf(connection).fetch(path, { signal: interrupted.signal });
        let count = 0;
        for await (const { event, data } of serverSentEvents(body ?? new ReadableStream())) {
          if (event === "gap") err(`headrace: retention removed events before they were read: ${data}\n`);
          else if (event === "error") throw new HeadraceError("HR_UNAVAILABLE", `the node ended the stream: ${data}`);
          else {
            count++;
            out(json ? `${data}\n` : line(data));
          }
        }
        if (limit === undefined || count < limit)
          throw new HeadraceError("HR_UNAVAILABLE", "the node ended the stream");
      } catch (error) {
        if (!interrupted.signal.aborted) {
          if (error instanceof HeadraceError) throw error;
          throw new HeadraceError("HR_UNAVAILABLE", "the connection to the node broke", { cause: error });
        }
      } finally {
        process.off("SIGINT", stop);
      }
    });
}
