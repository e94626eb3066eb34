/** One message of an MQTT client: to its streams, to the retained messages, to the subscribers. */

import { recordFlag } from "@headrace/engine";
import type { PublishProperties, Qos } from "@headrace/mqtt";
import { reasonCodes } from "@headrace/mqtt";
import { type Envelope, envelopeOf } from "./envelope.ts";
import type { FanOut } from "./fan-out.ts";
import { FanOutMessage } from "./fan-out-message.ts";
import type { Ingest, Publisher } from "./ingest.ts";
import type { PartitionWriter } from "./partition-writer.ts";
import type { Retained } from "./retained.ts";
import type { Route } from "./routes.ts";
import { Key } from "./stream-state.ts";

export class Intake {
  readonly #ingest: Ingest;
  readonly #fanOut: FanOut;
  readonly #retained: Retained;
  readonly #sequencedDevicesMax: number;

  constructor(parts: { ingest: Ingest; fanOut: FanOut; retained: Retained; sequencedDevicesMax: number }) {
    this.#ingest = parts.ingest;
    this.#fanOut = parts.fanOut;
    this.#retained = parts.retained;
    this.#sequencedDevicesMax = parts.sequencedDevicesMax;
  }

  /**
   * Takes a message whose topic the policy allows; answers 0, or the reason code of a refusal (0x80 and above). A QoS 1 message is
   * part of the open group then, or repeats one that is or was: it is acknowledged with the group.
   * @param sent undefined when the message has no properties, or only the device's sequence, which is then given
   */
  take(
    route: Route,
    publisher: Publisher,
    clientId: string,
    qos: Qos,
    retain: boolean,
    duplicate: boolean,
    arrivalMs: number,
    source: Uint8Array,
    start: number,
    end: number,
    sent: PublishProperties | undefined,
    deviceEpoch = -1,
    deviceSequence = -1,
  ): number {
    const targets = qos === 0 ? route.targets : route.durableTargets;
    let envelope: Envelope | undefined;
    if (sent !== undefined) {
      const read = envelopeOf(sent);
      if (typeof read === "string") return reasonCodes.payloadFormatInvalid;
      envelope = read;
      deviceEpoch = read.deviceEpoch;
      deviceSequence = read.deviceSequence;
    }
    if (retain && !this.#retained.hasRoom(route.topic, end - start, clientId)) return reasonCodes.quotaExceeded;
    const properties = envelope?.properties;
    const flags = qos | (retain ? recordFlag.retain : 0) | (duplicate ? recordFlag.duplicate : 0);
    let isNew = targets.length === 0;
    for (const target of targets) {
      const { stream } = target;
      if (
        deviceSequence >= 0 &&
        stream.marks.size >= this.#sequencedDevicesMax &&
        !stream.marks.has(target.device ?? publisher.device.text)
      ) {
        return reasonCodes.quotaExceeded;
      }
    }
    for (const target of targets) {
      const key = target.stream.keyHeader === undefined ? undefined : headerKey(envelope, target.stream.keyHeader);
      if (
        this.#ingest.accept(
          target,
          publisher,
          key,
          flags,
          arrivalMs,
          source,
          start,
          end,
          properties,
          deviceEpoch,
          deviceSequence,
        )
      )
        isNew = true;
    }
    if (isNew && (retain || this.#fanOut.wants(route))) {
      const payload = new Uint8Array(source.subarray(start, end));
      const { topic, topicBytes } = route;
      const message = new FanOutMessage(
        {
          topic,
          payload,
          qos,
          retain,
          properties: sent ?? {},
          publisher: clientId,
        },
        topicBytes,
        arrivalMs,
      );
      // In this order: the event's place is the last one that was given out.
      if (targets.length > 0 && qos > 0 && (this.#fanOut.subscribers.plannedCount > 0 || deviceSequence >= 0)) {
        const { logId, channelWriter, nextSequence } = this.#ingest.lastWriter as PartitionWriter;
        const place = { logId, writer: channelWriter, sequence: nextSequence - 1 };
        message.place = place;
        if (this.#fanOut.subscribers.plannedCount > 0) {
          this.#fanOut.plan(message, this.#fanOut.subscribers.of(route), place);
        }
      }
      if (retain) this.#retained.store(message, arrivalMs);
      if (retain || targets.length > 0) this.#fanOut.whenDurable(message, route);
      else this.#fanOut.deliver(message, this.#fanOut.subscribers.of(route));
    }
    return 0;
  }
}

/** What is said to a client whose message was refused with this code. */
export const refusalReason = (reasonCode: number): string =>
  reasonCode === reasonCodes.quotaExceeded ? "a quota is used up" : "hr-epoch and hr-seq are whole numbers";

const headerKey = (envelope: Envelope | undefined, name: string): Key | undefined => {
  const value = envelope?.userProperties?.find(([header]) => header === name)?.[1];
  return value === undefined ? undefined : new Key(value);
};
