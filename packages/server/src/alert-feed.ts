/** Follows the stream of alerts for the terminal and for counters. */
import { EventBlockReader } from "@headrace/engine";
import { systemStreams } from "@headrace/sdk";
import type { EmbeddedLog } from "./log/index.ts";
import type { AlertNotice } from "./node.ts";
import { streamLog } from "./runtime/index.ts";

interface Counts {
  raised: number;
  cleared: number;
}
const readBytes = 1024 * 1024;

/** Follows a derived stream from now on and gives each event's payload to `onEvent`. */
const follow = async (
  log: EmbeddedLog,
  stream: string,
  onEvent: (value: never, reader: EventBlockReader) => void,
): Promise<() => void> => {
  const { id } = await log.open(streamLog(stream, 0), "stream");
  const positions = new Map(log.channels(id).map(({ writer, endSequence }) => [writer, endSequence]));
  let reading = false;
  const read = async (): Promise<void> => {
    if (reading) return;
    reading = true;
    try {
      for (const { writer, endSequence } of log.channels(id)) {
        for (let at = positions.get(writer) ?? 0; at < endSequence; ) {
          for (const block of await log.read({ logId: id, writer }, at, readBytes)) {
            const reader = new EventBlockReader(block);
            while (reader.next())
              if (reader.sequence >= at) onEvent(JSON.parse(Buffer.from(reader.payload).toString()) as never, reader);
            at = reader.header.sequence + reader.header.recordCount;
          }
          positions.set(writer, at);
        }
      }
    } finally {
      reading = false;
    }
  };
  return log.watch(id, () => void read());
};

/** Counts alerts of this start, and tells listeners of alerts. */
export class AlertFeed {
  readonly alerts: Counts = { raised: 0, cleared: 0 };
  readonly #listeners: ((alert: AlertNotice) => void)[] = [];
  readonly #cancel: (() => void)[] = [];

  async start(log: EmbeddedLog): Promise<void> {
    this.#cancel.push(
      await follow(
        log,
        systemStreams.alerts,
        (value: { name: string; status: AlertNotice["state"]; severity: string }, reader) => {
          if (value.status === "raised") this.alerts.raised++;
          else if (value.status === "cleared") this.alerts.cleared++;
          const notice = {
            name: value.name,
            device: reader.client,
            state: value.status,
            severity: value.severity,
            timeMs: reader.arrivalMs,
          };
          for (const listener of this.#listeners) listener(notice);
        },
      ),
    );
  }
  onAlert(listener: (alert: AlertNotice) => void): void {
    this.#listeners.push(listener);
  }
  close(): void {
    for (const cancel of this.#cancel) cancel();
  }
}
