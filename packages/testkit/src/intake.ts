/** The gateway's part of a test: a topic finds its streams, the event its key and partition, and each stream gets a block. */
import {
  crc32c,
  EventBlockBuilder,
  encodeProperties,
  InternedString,
  matchPattern,
  partitionOf,
  streamLog,
} from "@headrace/engine";
import { type AppDefinition, HeadraceError, type StreamDefinition } from "@headrace/sdk";
import type { MemoryLog } from "./memory-log.ts";

/** A message as a device publishes it. */
export interface Message {
  readonly topic: string;
  readonly device: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1;
  readonly headers: Readonly<Record<string, string>>;
}

const writer = 0;

const keyOf = ({ key }: StreamDefinition, params: Readonly<Record<string, string>>, message: Message): string => {
  const device = params.device ?? message.device;
  if (!key) return device;
  return ("param" in key ? params[key.param] : message.headers[key.header]) ?? device;
};

export class Intake {
  readonly #definition: AppDefinition;
  readonly #log: MemoryLog;
  readonly #builder = new EventBlockBuilder();

  constructor(definition: AppDefinition, log: MemoryLog) {
    this.#definition = definition;
    this.#log = log;
  }

  /** Stores a message in every stream that its topic feeds. @throws HR_NOT_FOUND when it feeds none */
  accept(message: Message, nowMs: number): void {
    const targets = this.#definition.streams.flatMap((stream) => {
      for (const { pattern } of stream.sources) {
        const params = matchPattern(pattern, message.topic);
        if (params) return [{ stream, key: keyOf(stream, params, message) }];
      }
      return [];
    });
    if (targets.length === 0) {
      const patterns = this.#definition.streams.flatMap(({ sources }) => sources.map(({ pattern }) => pattern));
      throw new HeadraceError(
        "HR_NOT_FOUND",
        `topic "${message.topic}" feeds no stream; the streams take ${patterns.join(", ")}`,
      );
    }
    this.#log.appendNow(targets.map(({ stream, key }) => this.#block(stream, key, message, nowMs)));
  }

  #block(stream: StreamDefinition, key: string, message: Message, nowMs: number): Uint8Array {
    const { id } = this.#log.openNow(streamLog(stream.name, partitionOf(key, stream.partitions)), "stream");
    const state = this.#log.channels(id).find((channel) => channel.writer === writer);
    const [topic, keyText, client] = [message.topic, key, message.device].map((text) => new InternedString(text));
    const userProperties = Object.entries(message.headers);
    this.#builder.reset();
    this.#builder.append(
      topic,
      keyText,
      client,
      message.qos,
      nowMs,
      message.payload,
      0,
      message.payload.byteLength,
      encodeProperties(userProperties.length > 0 ? { userProperties } : {}),
    );
    const place = { logId: id, writer, epoch: state?.epoch ?? 0, sequence: state?.endSequence ?? 0 };
    return this.#builder.seal(place, crc32c).slice();
  }
}
