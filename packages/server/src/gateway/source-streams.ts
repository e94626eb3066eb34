/** The source streams of the node: their logs, the channels that gateways write, the marks of their devices. */
import { HeadraceError, type StreamDefinition, systemStreams } from "@headrace/sdk";
import type { EmbeddedLog } from "../log/index.ts";
import { DeviceOf } from "./device-of.ts";
import type { Ingest } from "./ingest.ts";
import { MarksLog } from "./marks-log.ts";
import { type BuilderPool, PartitionWriter, type WriterChannel } from "./partition-writer.ts";
import { Marks } from "./repeats.ts";
import { StreamState } from "./stream-state.ts";
import type { RepeatCheck } from "./thread-groups.ts";
import type { ThreadStream } from "./thread-protocol.ts";

const dayMs = 86_400_000;
/** Messages that no stream asked for, where the application's definition does not bring this stream along. */
const mqttStream: StreamDefinition = {
  name: systemStreams.mqtt,
  sources: [],
  partitions: 1,
  retain: { ageMs: dayMs },
  kind: "source",
  system: true,
  columns: [],
  table: false,
};

interface Opened {
  definition: StreamDefinition;
  readonly marks: Marks;
  readonly marksLog: MarksLog;
  readonly check: RepeatCheck;
  /** Log ids of its partitions. */
  logIds: number[];
}

export class SourceStreams {
  /** By log id. */
  readonly checks = new Map<number, RepeatCheck>();
  readonly #log: EmbeddedLog;
  readonly #pool: BuilderPool;
  readonly #ingest: Ingest;
  readonly #opened = new Map<string, Opened>();
  readonly #writers = new Map<number, PartitionWriter>();
  /** Channels of gateway threads, fenced once: `log/writer`. */
  readonly #channels = new Map<string, WriterChannel>();
  /** Events that were stored before this start, by log. */
  readonly #before = new Map<number, number>();
  #current: string[] = [];

  constructor(log: EmbeddedLog, pool: BuilderPool, ingest: Ingest) {
    this.#log = log;
    this.#pool = pool;
    this.#ingest = ingest;
  }

  /** Opens what is new among `streams`; those that are gone keep their logs and marks. */
  async open(streams: readonly StreamDefinition[]): Promise<StreamState[]> {
    const wanted = streams.filter(({ kind }) => kind === "source");
    if (!wanted.some(({ name }) => name === systemStreams.mqtt)) wanted.push(mqttStream);
    const states: StreamState[] = [];
    for (const definition of wanted) {
      const opened = await this.#open(definition);
      const partitions: PartitionWriter[] = [];
      for (const logId of opened.logIds) partitions.push(await this.#writer(logId));
      states.push(new StreamState(definition, partitions, opened.marks));
    }
    this.#current = wanted.map(({ name }) => name);
    return states;
  }

  async #open(definition: StreamDefinition): Promise<Opened> {
    const logIds: number[] = [];
    for (let partition = 0; partition < definition.partitions; partition++) {
      const { id } = await this.#log.open(`stream/${definition.name}/${partition}`, "stream");
      if (!this.#before.has(id)) this.#before.set(id, this.#end(id));
      logIds.push(id);
    }
    let opened = this.#opened.get(definition.name);
    if (!opened) {
      const marks = new Marks();
      const check = { marks, devices: new DeviceOf(definition), repeated: 0 };
      opened = { definition, marks, check, logIds, marksLog: await MarksLog.open(this.#log, definition, marks) };
      this.#opened.set(definition.name, opened);
    }
    opened.definition = definition;
    opened.check.devices = new DeviceOf(definition);
    opened.logIds = logIds;
    for (const id of logIds) this.checks.set(id, opened.check);
    return opened;
  }

  async #writer(logId: number): Promise<PartitionWriter> {
    let writer = this.#writers.get(logId);
    if (!writer) {
      writer = new PartitionWriter(await this.#fence(logId, 0), this.#pool, this.#ingest);
      this.#writers.set(logId, writer);
    }
    return writer;
  }

  async #fence(logId: number, writer: number): Promise<WriterChannel> {
    const epoch = await this.#log.fence({ logId, writer });
    return { logId, writer, epoch, sequence: this.#log.endSequence({ logId, writer }) };
  }

  /** The current streams with the channels of another writer, whose thread opens those that it has not open yet. */
  async channelsFor(writer: number): Promise<ThreadStream[]> {
    const streams: ThreadStream[] = [];
    for (const current of this.#current) {
      const opened = this.#opened.get(current);
      if (!opened) throw new HeadraceError("HR_INTERNAL", `stream ${current} is not open`);
      const { name, sources, partitions, key } = opened.definition;
      const channels: WriterChannel[] = [];
      for (const logId of opened.logIds) {
        const place = `${logId}/${writer}`;
        const channel = this.#channels.get(place) ?? (await this.#fence(logId, writer));
        this.#channels.set(place, channel);
        channels.push(channel);
      }
      streams.push({ stream: { name, sources, partitions, ...(key && { key }) }, channels });
    }
    return streams;
  }

  /** Takes over the channels of a writer whose thread is gone: what it still wrote would be refused. */
  async takeOver(writer: number): Promise<void> {
    for (const [place, { logId, writer: other }] of [...this.#channels]) {
      if (other === writer) this.#channels.set(place, await this.#fence(logId, writer));
    }
  }

  /** Settles the marks of the open group, and lets them be written when that is due. */
  afterGroup(stored: boolean): void {
    for (const { marks, marksLog } of this.#opened.values()) {
      marks.settle(stored);
      if (stored) marksLog.afterGroup();
    }
  }

  #end(logId: number): number {
    let end = 0;
    for (const channel of this.#log.channels(logId)) end += channel.endSequence;
    return end;
  }

  /** Events stored since this start, and repeats that other threads' blocks held. */
  counts(): { byStream: Record<string, number>; repeated: number } {
    const byStream: Record<string, number> = {};
    let repeated = 0;
    for (const [name, { logIds, check }] of this.#opened) {
      repeated += check.repeated;
      byStream[name] = logIds.reduce((sum, id) => sum + this.#end(id) - (this.#before.get(id) ?? 0), -check.repeated);
    }
    return { byStream, repeated };
  }

  /** Writes the marks, so that the next start has nothing to read again. One that fails changes nothing. */
  async close(): Promise<void> {
    await Promise.all([...this.#opened.values()].map(({ marksLog }) => marksLog.snapshot().catch(() => undefined)));
  }
}
