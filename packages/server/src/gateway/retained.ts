/** Retained messages: the last one per topic, durable in the log `retained`, held in memory, compacted as it grows. */
import { EventBlockReader, encodeProperties, InternedString, recordFlag } from "@headrace/engine";
import { matchesFilter, type Qos } from "@headrace/mqtt";
import { FanOutMessage, type WireMessage } from "./fan-out-message.ts";
import type { Ingest } from "./ingest.ts";
import type { PartitionWriter } from "./partition-writer.ts";
import { publishProperties } from "./session-records.ts";

interface Kept {
  readonly message: FanOutMessage;
  readonly arrivalMs: number;
  readonly bytes: number;
}

const overheadBytes = 64;
/** Below this the log is not worth compacting. */
const compactBytesMin = 1024 * 1024;
const noClient = new InternedString("");

/** Where retained messages are written: the log, or for a gateway thread the thread of the log. */
export interface RetainedLog {
  /** Takes a message for the open group. */
  append(message: FanOutMessage, arrivalMs: number): void;
  /** Sequence behind the last durable record. */
  readonly sequence: number;
  /** Says that records below a sequence are no longer needed. */
  trim(beforeSequence: number): void;
}

export interface RetainedOptions {
  readonly messagesMax: number;
  readonly bytesMax: number;
}

export class Retained {
  readonly #log: RetainedLog;
  readonly #options: RetainedOptions;
  readonly #byTopic = new Map<string, Kept>();
  #bytes = 0;
  /** Bytes written since the log began with a copy of everything. */
  #logBytes = 0;
  #copyEnd = -1;
  #copyStart = 0;

  constructor(log: RetainedLog, options: RetainedOptions) {
    this.#log = log;
    this.#options = options;
  }

  get size(): number {
    return this.#byTopic.size;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a message of this size may be retained; removing one (empty payload) always may. */
  hasRoom(topic: string, payloadBytes: number): boolean {
    if (payloadBytes === 0) return true;
    const old = this.#byTopic.get(topic);
    const count = this.#byTopic.size + (old ? 0 : 1);
    const bytes = this.#bytes - (old?.bytes ?? 0) + topic.length + payloadBytes + overheadBytes;
    return count <= this.#options.messagesMax && bytes <= this.#options.bytesMax;
  }

  /** Writes a message into the open group; {@link apply} it when that is durable. */
  store(message: FanOutMessage, arrivalMs: number): void {
    this.#logBytes += message.payload.byteLength + overheadBytes;
    this.#log.append(message, arrivalMs);
  }

  /** Makes a durable message the topic's retained one; an empty payload removes it (MQTT 5.0 §3.3.1.3). */
  apply(message: FanOutMessage, arrivalMs: number): void {
    const old = this.#byTopic.get(message.topic);
    if (old) this.#bytes -= old.bytes;
    this.#byTopic.delete(message.topic);
    if (message.payload.byteLength === 0) return;
    const bytes = message.topic.length + message.payload.byteLength + overheadBytes;
    this.#byTopic.set(message.topic, { message, arrivalMs, bytes });
    this.#bytes += bytes;
  }

  /** Takes what a block of the log holds: at start, oldest first. */
  restore(block: Uint8Array): void {
    const reader = new EventBlockReader(block);
    while (reader.next()) {
      const message = new FanOutMessage(
        {
          topic: reader.topic,
          payload: reader.payload.slice(),
          qos: reader.qos as Qos,
          retain: true,
          publisher: undefined,
          properties: publishProperties(reader.properties()),
        },
        undefined,
        reader.arrivalMs,
      );
      this.#logBytes += message.payload.byteLength + overheadBytes;
      this.apply(message, reader.arrivalMs);
    }
  }

  /** Everything, for another thread's copy. */
  all(): WireMessage[] {
    return [...this.#byTopic.values()].map(({ message }) => message.toWire());
  }

  /** Messages whose topic matches `filter` and that have not expired. */
  matching(filter: string, nowMs: number): FanOutMessage[] {
    const found: FanOutMessage[] = [];
    const isLive = ({ message, arrivalMs }: Kept): boolean => {
      const expirySeconds = message.properties.messageExpirySeconds;
      return expirySeconds === undefined || nowMs < arrivalMs + expirySeconds * 1000;
    };
    if (!/[+#]/.test(filter)) {
      const kept = this.#byTopic.get(filter);
      return kept && isLive(kept) ? [kept.message] : [];
    }
    for (const [topic, kept] of this.#byTopic)
      if (matchesFilter(filter, topic) && isLive(kept)) found.push(kept.message);
    return found;
  }

  /** After a group, with nothing open: starts or ends a compaction. The copy follows everything that it copies, so it may be cut anywhere. */
  compact(stored: boolean): void {
    if (this.#copyEnd >= 0) {
      if (stored && this.#log.sequence >= this.#copyEnd) this.#log.trim(this.#copyStart);
      this.#copyEnd = -1;
      return;
    }
    if (!stored || this.#logBytes < compactBytesMin || this.#logBytes < this.#bytes * 2) return;
    this.#copyStart = this.#log.sequence;
    this.#logBytes = 0;
    for (const { message, arrivalMs } of this.#byTopic.values()) this.store(message, arrivalMs);
    this.#copyEnd = this.#copyStart + this.#byTopic.size;
  }
}

/** The log `retained` of this thread's log. */
export class OwnRetainedLog implements RetainedLog {
  readonly #ingest: Ingest;
  readonly #writer: PartitionWriter;
  readonly trim: (beforeSequence: number) => void;

  constructor(ingest: Ingest, writer: PartitionWriter, trim: (beforeSequence: number) => void) {
    this.#ingest = ingest;
    this.#writer = writer;
    this.trim = trim;
  }

  get sequence(): number {
    return this.#writer.sequence;
  }

  append(message: FanOutMessage, arrivalMs: number): void {
    const { payload, properties } = message;
    const { contentType, responseTopic, correlationData, payloadFormat, userProperties, messageExpirySeconds } =
      properties;
    const packed = encodeProperties({
      ...(contentType !== undefined && { contentType }),
      ...(responseTopic !== undefined && { responseTopic }),
      ...(correlationData !== undefined && { correlationData }),
      ...(payloadFormat !== undefined && { payloadFormat }),
      ...(messageExpirySeconds !== undefined && { messageExpirySeconds }),
      ...(userProperties && { userProperties }),
    });
    const topic = new InternedString(message.topic);
    const flags = message.qos | recordFlag.retain;
    this.#ingest.append(
      this.#writer,
      topic,
      topic,
      noClient,
      flags,
      arrivalMs,
      payload,
      0,
      payload.byteLength,
      packed,
      -1,
      -1,
    );
  }
}
