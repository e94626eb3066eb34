/** Puts a dead-lettered event back into its stream, as a new event that says where it came from. */
import { EventBlockReader } from "@headrace/engine";
import { HeadraceError, systemStreams } from "@headrace/sdk";
import type { SubmittedEvent } from "./control.ts";
import type { EmbeddedLog } from "./log/index.ts";
import { streamLog } from "./runtime/index.ts";

interface DeadLetter {
  readonly stream: string;
  readonly payload: string;
  readonly encoding: "utf8" | "base64";
  readonly topic: string;
  readonly position: string;
  /** Length of the whole payload when the letter holds only its beginning. */
  readonly payloadCutFrom?: number;
}

/** @param sequence of the dead letter in the channel of `place.writer` @throws HR_NOT_FOUND, HR_EVENT_TOO_LARGE when the letter holds only a part of the payload */
export const redriveDeadLetter = async (
  log: EmbeddedLog,
  gateway: { submit(events: SubmittedEvent[]): Promise<{ stored: number }> },
  sequence: number,
  place?: { writer: number },
): Promise<{ stored: number }> => {
  const { id } = await log.open(streamLog(systemStreams.deadLetters, 0), "stream");
  for (const { writer, startSequence, endSequence } of log.channels(id)) {
    if (place !== undefined && place.writer !== writer) continue;
    if (sequence < startSequence || sequence >= endSequence) continue;
    const [block] = await log.read({ logId: id, writer }, sequence, 1);
    const reader = new EventBlockReader(block);
    while (reader.next()) {
      if (reader.sequence !== sequence) continue;
      const letter = JSON.parse(Buffer.from(reader.payload).toString()) as DeadLetter;
      if (letter.payloadCutFrom !== undefined) {
        throw new HeadraceError(
          "HR_EVENT_TOO_LARGE",
          `dead letter ${sequence} holds only the beginning of a payload of ${letter.payloadCutFrom} bytes: send the event again from its source, or from stream "${letter.stream}" at ${letter.position}`,
        );
      }
      const event: SubmittedEvent = {
        stream: letter.stream,
        ...(letter.topic && { topic: letter.topic }),
        device: reader.key,
        payload: Buffer.from(letter.payload, letter.encoding),
        userProperties: [
          ["hr-redriven", letter.position],
          ["hr-out-of-order", "true"],
        ],
      };
      return { stored: (await gateway.submit([event])).stored };
    }
  }
  throw new HeadraceError("HR_NOT_FOUND", `there is no dead letter ${sequence}`, { data: { sequence } });
};
