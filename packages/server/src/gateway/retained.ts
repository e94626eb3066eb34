/** Retained messages: the last one per topic, durable in the log `retained`, held in memory, compacted as it grows. */
import { EventBlockReader, encodeProperties, InternedString, recordFlag } from "@headrace/engine";
import type { Qos } from "@headrace/mqtt";
import { FanOutMessage, type WireMessage } from "./fan-out-message.ts";
import type { Ingest } from "./ingest.ts";
import type { PartitionWriter } from "./partition-writer.ts";
import { publishProperties } from "./session-records.ts";

interface Kept {
  readonly message: FanOutMessage;
  readonly arrivalMs: number;
  readonly bytes: number;
  /** Grows with each message: in this order they stand. */
  readonly order: number;
}

/** What one client retains, or all. */
interface Share {
  messages: number;
  bytes: number;
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
  readonly messagesPerClientMax: number;
  readonly bytesPerClientMax: number;
}

export class Retained {
  readonly #log: RetainedLog;
  readonly #options: RetainedOptions;
  readonly #byTopic = new Map<string, Kept>();
  #bytes = 0;
  readonly #byClient = new Map<string, Share>();
  /** Stored and not durable yet: it counts, or one group could hold any number beyond the bound. */
  readonly #pending = new Map<FanOutMessage, Share>();
  readonly #pendingShare: Share = { messages: 0, bytes: 0 };
  #order = 0;
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
  hasRoom(topic: string, payloadBytes: number, client: string): boolean {
    if (payloadBytes === 0) return true;
    const { messagesMax, bytesMax, messagesPerClientMax, bytesPerClientMax } = this.#options;
    const old = this.#byTopic.get(topic);
    const more = { messages: old ? 0 : 1, bytes: topic.length + payloadBytes + overheadBytes - (old?.bytes ?? 0) };
    const { messages, bytes } = this.#pendingShare;
    if (this.#byTopic.size + messages + more.messages > messagesMax) return false;
    if (this.#bytes + bytes + more.bytes > bytesMax) return false;
    const own = this.#byClient.get(client);
    if (own === undefined) return true;
    const isOwn = old !== undefined && old.message.publisher === client;
    const ownBytes = own.bytes + topic.length + payloadBytes + overheadBytes - (isOwn ? old.bytes : 0);
    return own.messages + (isOwn ? 0 : 1) <= messagesPerClientMax && ownBytes <= bytesPerClientMax;
  }

  /** Writes a message into the open group; {@link apply} it when that is durable, {@link forget} it when it was not stored. */
  store(message: FanOutMessage, arrivalMs: number): void {
    if (message.payload.byteLength > 0) {
      const share = { messages: this.#byTopic.has(message.topic) ? 0 : 1, bytes: bytesOf(message) };
      this.#pending.set(message, share);
      change(this.#pendingShare, share, 1);
      this.#changeClient(message, share.bytes, 1);
    }
    this.#write(message, arrivalMs);
  }

  /** It is no longer on its way. */
  forget(message: FanOutMessage): void {
    const share = this.#pending.get(message);
    if (share === undefined) return;
    this.#pending.delete(message);
    change(this.#pendingShare, share, -1);
    this.#changeClient(message, share.bytes, -1);
  }

  #changeClient({ publisher }: FanOutMessage, bytes: number, sign: 1 | -1): void {
    if (publisher === undefined) return;
    const share = this.#byClient.get(publisher) ?? { messages: 0, bytes: 0 };
    change(share, { messages: 1, bytes }, sign);
    if (share.messages > 0) this.#byClient.set(publisher, share);
    else this.#byClient.delete(publisher);
  }

  #write(message: FanOutMessage, arrivalMs: number): void {
    this.#logBytes += message.payload.byteLength + overheadBytes;
    this.#log.append(message, arrivalMs);
  }

  /** Makes a durable message the topic's retained one; an empty payload removes it (MQTT 5.0 §3.3.1.3). */
  apply(message: FanOutMessage, arrivalMs: number): void {
    this.forget(message);
    const old = this.#byTopic.get(message.topic);
    if (old) {
      this.#bytes -= old.bytes;
      this.#changeClient(old.message, old.bytes, -1);
    }
    this.#byTopic.delete(message.topic);
    if (message.payload.byteLength === 0) return;
    const bytes = bytesOf(message);
    this.#order += 1;
    this.#byTopic.set(message.topic, { message, arrivalMs, bytes, order: this.#order });
    this.#bytes += bytes;
    this.#changeClient(message, bytes, 1);
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
          publisher: reader.client === "" ? undefined : reader.client,
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

  /** The message of a topic, unless it has expired. */
  get(topic: string, nowMs: number): FanOutMessage | undefined {
    const kept = this.#byTopic.get(topic);
    return kept !== undefined && isLive(kept, nowMs) ? kept.message : undefined;
  }

  /** All that are retained now and not expired, one by one; what is removed or replaced meanwhile is passed over. */
  *pass(nowMs: number): Generator<FanOutMessage, undefined> {
    const last = this.#order;
    for (const kept of this.#byTopic.values()) {
      if (kept.order > last) return undefined;
      if (isLive(kept, nowMs)) yield kept.message;
    }
    return undefined;
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
    for (const { message, arrivalMs } of this.#byTopic.values()) this.#write(message, arrivalMs);
    this.#copyEnd = this.#copyStart + this.#byTopic.size;
  }
}

const isLive = ({ message, arrivalMs }: Kept, nowMs: number): boolean => {
  const { messageExpirySeconds } = message.properties;
  return messageExpirySeconds === undefined || nowMs < arrivalMs + messageExpirySeconds * 1_000;
};

const bytesOf = ({ topic, payload }: FanOutMessage): number => topic.length + payload.byteLength + overheadBytes;

const change = (share: Share, by: Share, sign: 1 | -1): void => {
  share.messages += sign * by.messages;
  share.bytes += sign * by.bytes;
};

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
      message.publisher === undefined ? noClient : new InternedString(message.publisher),
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
