/** The answers to messages of a group that was not stored. 3.1.1 has none: there the end of the connection is the answer. */
import { encodeAcknowledgement, packetTypes, reasonCodes, type ServerSession } from "@headrace/mqtt";
import type { AckBuffer } from "./ack-buffer.ts";
import type { Held } from "./fan-out-message.ts";
import type { SocketWriter } from "./socket-writer.ts";

export const refuseGroup = (acks: AckBuffer, session: ServerSession<Held>, writer: SocketWriter): void => {
  const { version } = session;
  for (const { packetId, type } of acks.sealedIds()) {
    if (type === packetTypes.pubrec) session.refused(packetId);
    if (version !== 5) continue;
    writer.write(encodeAcknowledgement({ version, type, packetId, reasonCode: reasonCodes.quotaExceeded }));
  }
  acks.drop();
};
