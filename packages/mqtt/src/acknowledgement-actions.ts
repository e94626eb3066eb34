import { decodeAcknowledgement, encodeAcknowledgement } from "./acknowledgement.ts";
import { protocolError, reasonCodes } from "./errors.ts";
import { type ProtocolVersion, packetTypes, type RawPacket } from "./packet.ts";
import type { SessionAction } from "./session-actions.ts";
import type { SessionState } from "./session-state.ts";

/** What a PUBACK, PUBREC, PUBREL or PUBCOMP of the client changes and how it is answered, MQTT 5.0 §4.3. Throws MqttError. */
export function acknowledgementActions<M>(
  version: ProtocolVersion,
  { type, buffer, start, end }: RawPacket,
  session: SessionState<M>,
): readonly SessionAction[] {
  const { packetId, reasonCode } = decodeAcknowledgement(version, type, buffer, start, end);
  if (type === packetTypes.pubrel) return pubrelActions(version, packetId, reasonCode, session);
  const { outbox } = session;
  if (!outbox.isInFlight(packetId)) {
    if (type !== packetTypes.pubrec || reasonCode >= 0x80) return [];
    // §4.3.3: the client must hear that the identifier is unknown, else it keeps the message for ever.
    const code = reasonCodes.packetIdentifierNotFound;
    const bytes = encodeAcknowledgement({ version, type: packetTypes.pubrel, packetId, reasonCode: code });
    return [{ type: "send", bytes }];
  }
  if ((type === packetTypes.puback) === outbox.isExact(packetId)) {
    throw protocolError(`packet identifier ${packetId} belongs to a message of another QoS (§4.3)`);
  }
  if (type === packetTypes.pubrec && reasonCode < 0x80) {
    outbox.received(packetId);
    const bytes = encodeAcknowledgement({ version, type: packetTypes.pubrel, packetId });
    return [{ type: "received", packetId, reasonCode, bytes }];
  }
  if (type === packetTypes.pubcomp && !outbox.isReceived(packetId)) {
    throw protocolError(`PUBCOMP for ${packetId} before its PUBREC (§4.3.3)`);
  }
  outbox.release(packetId);
  return [{ type: "acknowledged", packetId, reasonCode, bytes: undefined }];
}

function pubrelActions<M>(
  version: ProtocolVersion,
  packetId: number,
  reasonCode: number,
  { received }: SessionState<M>,
): readonly SessionAction[] {
  const isKnown = received.delete(packetId);
  const code = isKnown ? reasonCodes.success : reasonCodes.packetIdentifierNotFound;
  const bytes = encodeAcknowledgement({ version, type: packetTypes.pubcomp, packetId, reasonCode: code });
  return isKnown ? [{ type: "released", packetId, reasonCode, bytes }] : [{ type: "send", bytes }];
}
