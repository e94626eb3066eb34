/** From the properties of a PUBLISH to those of the event: `hr-epoch` and `hr-seq` leave them and become the device's sequence. */
import { type EventProperties, encodeProperties } from "@headrace/engine";
import type { PublishProperties } from "@headrace/mqtt";

export interface Envelope {
  readonly properties: Uint8Array | undefined;
  /** -1 when the device sends none. */
  readonly deviceEpoch: number;
  readonly deviceSequence: number;
  readonly userProperties: readonly [string, string][] | undefined;
}

const epochMax = 2 ** 32 - 1;

/** A decimal number as devices write it; -1 when it is none or too large. */
const wholeNumber = (text: string, max: number): number => {
  if (!/^\d{1,16}$/.test(text)) return -1;
  const value = Number(text);
  return value <= max ? value : -1;
};

/** The event's part of a PUBLISH; a string names the header that is wrong. */
export const envelopeOf = (sent: PublishProperties): Envelope | string => {
  let epoch: number | undefined;
  let sequence: number | undefined;
  let kept: [string, string][] | undefined;
  for (const pair of sent.userProperties ?? []) {
    if (pair[0] === "hr-epoch") epoch = wholeNumber(pair[1], epochMax);
    else if (pair[0] === "hr-seq") sequence = wholeNumber(pair[1], Number.MAX_SAFE_INTEGER);
    else if (kept) kept.push(pair);
    else kept = [pair];
  }
  if (epoch === -1) return "hr-epoch";
  if (sequence === -1 || (epoch !== undefined && sequence === undefined)) return "hr-seq";
  return {
    properties: packed(sent, kept),
    deviceEpoch: sequence === undefined ? -1 : (epoch ?? 0),
    deviceSequence: sequence ?? -1,
    userProperties: sent.userProperties,
  };
};

const packed = (sent: PublishProperties, userProperties: [string, string][] | undefined): Uint8Array | undefined => {
  const { messageExpirySeconds, contentType, responseTopic, correlationData, payloadFormat } = sent;
  const plain =
    contentType ?? responseTopic ?? correlationData ?? messageExpirySeconds ?? payloadFormat ?? userProperties;
  if (plain === undefined) return undefined;
  const properties: EventProperties = {
    ...(messageExpirySeconds !== undefined && { messageExpirySeconds }),
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlationData !== undefined && { correlationData }),
    ...(payloadFormat !== undefined && { payloadFormat }),
    ...(userProperties && { userProperties }),
  };
  return encodeProperties(properties);
};
